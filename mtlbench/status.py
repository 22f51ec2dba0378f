"""What the plan of a grid looks like now: every cell with its state, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from mtlbench import preflight
from mtlbench.building import evaluation_images
from mtlbench.fingerprints import fingerprints, start_fingerprint
from mtlbench.plan import Plan
from mtlbench.spec import Cell
from mtlbench.store import Runs
from mtlbench.summaries import Summary
from mtlbench.watching import why_blocked


class CellStatus(NamedTuple):
    """One cell of a plan: new, interrupted, running, failed, pruned, blocked, done or stale, and why."""

    cell: Cell
    state: str
    reason: str = ""


class Inspected(NamedTuple):
    """The cells of a plan: their states, what these were told from, and whether everything was checked."""

    statuses: list[CellStatus]
    summaries: dict[str, Summary]
    all_checked: bool


PENDING = ("new", "interrupted", "running", "blocked")
"""What `run` is still to do; failed cells wait for `rerun --failed`, pruned ones stay."""


def check_and_inspect(plan: Plan, runs: Runs, *, write: bool, at_most: int | None = None) -> Inspected:
    """Every cell's state; mistakes are found before any data are made or anything is written.

    Args:
        plan: of a grid.
        runs: where its cells are.
        write: mend and index what is there.
        at_most: networks and balancers that are built to be checked.

    Raises:
        MtlbenchError: something can't be built, or data are missing.
    """
    ids = [cell.id for cell in plan.cells]
    summaries = runs.summaries(ids)
    open_cells = [cell for cell in plan.cells if summaries[cell.id].state != "done"]
    checked = preflight.check_parts(open_cells, at_most=at_most)
    preflight.prepare_data(plan.cells)
    if write:
        summaries = runs.refresh(ids)
    statuses = inspect_plan(plan, runs, summaries)
    preflight.check_data([status.cell for status in statuses if status.state == "new"])
    return Inspected(statuses, summaries, checked)


def inspect_plan(plan: Plan, runs: Runs, summaries: Mapping[str, Summary]) -> list[CellStatus]:
    """The state of every cell of a plan, those that others start from before these."""
    checksums: dict[str, dict[str, str]] = {}
    found: dict[str, CellStatus] = {}
    for cell in plan.cells:
        status = _inspect(cell, runs, summaries[cell.id], checksums)
        if status.state in ("new", "interrupted"):
            reason = why_blocked(cell, found)
            status = status if reason is None else CellStatus(cell, "blocked", reason)
        found[cell.id] = status
    return list(found.values())


def summarise(statuses: list[CellStatus], skipped: int) -> str:
    """`3 new, 2 done, 1 skipped`."""
    counts = Counter(status.state for status in statuses)
    counts["skipped"] += skipped
    return ", ".join(f"{count} {state}" for state, count in counts.items() if count) or "nothing to do"


def _inspect(cell: Cell, runs: Runs, summary: Summary, checksums: dict[str, dict[str, str]]) -> CellStatus:
    if summary.state != "done":
        return CellStatus(cell, summary.state, summary.reason)
    parts = (cell.method, cell.backbone, cell.balancer, cell.dataset, cell.tuning)
    key = " ".join([*(part.canonical for part in parts), str(cell.holdout)])
    if key not in checksums:
        data = evaluation_images(cell).fingerprint()
        checksums[key] = fingerprints(cell) | {"data": data}
    now = checksums[key] | start_fingerprint(cell, runs.folder(cell))
    before = summary.fingerprints or {}
    changed = [part for part, checksum in now.items() if before.get(part) != checksum]
    if changed:
        return CellStatus(cell, "stale", f"changed since it ran: {', '.join(changed)}")
    return CellStatus(cell, "done")
