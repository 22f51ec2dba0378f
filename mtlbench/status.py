"""What the plan of a grid looks like now: every cell with its state, and why."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from mtlbench.cell import build_dataset, fingerprints
from mtlbench.plan import Plan
from mtlbench.spec import Cell
from mtlbench.store import Runs


@dataclass(frozen=True)
class CellStatus:
    """One cell of a plan: new, interrupted, running, failed, done or stale, and why."""

    cell: Cell
    state: str
    reason: str = ""


def inspect_plan(plan: Plan, runs: Runs) -> list[CellStatus]:
    """The state of every cell of a plan, from the run folders."""
    checksums: dict[str, dict[str, str]] = {}
    return [_inspect(cell, runs, checksums) for cell in plan.cells]


def summarise(statuses: list[CellStatus], skipped: int) -> str:
    """`3 new, 2 done, 1 skipped`."""
    counts = Counter(status.state for status in statuses)
    counts["skipped"] += skipped
    return ", ".join(f"{count} {state}" for state, count in counts.items() if count) or "nothing to do"


def _inspect(cell: Cell, runs: Runs, checksums: dict[str, dict[str, str]]) -> CellStatus:
    folder = runs.folder(cell)
    state = folder.state()
    if state == "failed" and (failure := folder.failure()) is not None:
        return CellStatus(cell, state, f"{failure.kind}: {failure.message}")
    result = folder.result()
    if result is None:
        return CellStatus(cell, state)
    key = f"{cell.method.name} {cell.backbone.name} {cell.balancer.name} {cell.dataset} {cell.tuning.name}"
    if key not in checksums:
        checksums[key] = fingerprints(cell) | {
            "data": build_dataset(cell.dataset, "val", cell.tasks).fingerprint()
        }
    changed = [part for part, checksum in checksums[key].items() if result.fingerprints.get(part) != checksum]
    if changed:
        return CellStatus(cell, "stale", f"changed since it ran: {', '.join(changed)}")
    return CellStatus(cell, "done")
