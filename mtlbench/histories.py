"""Tidy frames of what cells wrote while they trained. Lines of older runs lack some keys, or all."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, median
from typing import Any

import pandas as pd
from pydantic_core import from_json

from mtlbench.folder import Result, RunFolder

_NAN = math.nan
_BALANCERS = (
    "row",
    "seed",
    "at",
    "every",
    "milliseconds",
    "share",
    "gradient_memory_mb",
    "failures",
    "steps",
)


@dataclass(frozen=True)
class History:
    """The lines of one cell's `history.jsonl` and `evaluations.jsonl`, and whose they are."""

    row: int
    seed: int
    cell: str
    lines: list[dict[str, Any]]
    evaluations: list[dict[str, Any]] = field(default_factory=list)


def read(row: int, seed: int, cell: str, folder: RunFolder) -> History:
    """What a cell wrote so far."""
    return History(row, seed, cell, read_history(folder.history), read_history(folder.evaluations))


def read_history(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a history; none where there is no file."""
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return []
    return [from_json(line) for line in text.splitlines(keepends=True) if line.endswith(b"\n")]


def losses(histories: Iterable[History]) -> pd.DataFrame:
    lines = [
        (h.row, h.seed, task, line["step"], loss, line["weights"].get(task, _NAN))
        for h in histories
        for line in h.lines
        for task, loss in line["losses"].items()
    ]
    return pd.DataFrame(lines, columns=["row", "seed", "task", "step", "loss", "weight"])


def validation(histories: Iterable[History]) -> pd.DataFrame:
    """Primary scores on the way, unscaled, of the images that the cell's own scores are of."""
    lines = [
        (h.row, h.seed, task, line["step"], value)
        for h in histories
        for line in h.evaluations
        for task, value in line["scores"].items()
    ]
    return pd.DataFrame(lines, columns=["row", "seed", "task", "step", "value"])


def gradients(histories: Iterable[History]) -> pd.DataFrame:
    lines = [
        (h.row, h.seed, line["step"], task, norm)
        for h in histories
        for line in h.lines
        for task, norm in line.get("norms", {}).items()
    ]
    return pd.DataFrame(lines, columns=["row", "seed", "step", "task", "norm"])


def cosines(histories: Iterable[History]) -> pd.DataFrame:
    lines = [
        (h.row, h.seed, line["step"], a, b, value)
        for h in histories
        for line in h.lines
        for a, b, value in line["cosines"]
    ]
    return pd.DataFrame(lines, columns=["row", "seed", "step", "task_a", "task_b", "cosine"])


def balancing(histories: Iterable[History]) -> pd.DataFrame:
    lines = [(h.row, h.seed, line["step"], *_balancing(line)) for h in histories for line in h.lines]
    names = ("conflicts", "condition", "milliseconds", "share", "failures")
    return pd.DataFrame(lines, columns=["row", "seed", "step", *names]).astype(dict.fromkeys(names, float))


def balancers(histories: Iterable[History], results: dict[str, Result]) -> pd.DataFrame:
    """Of what is done; a row of several networks has means of their times and sums of their failures."""
    found: dict[tuple[int, int], list[History]] = defaultdict(list)
    for history in histories:
        found[history.row, history.seed].append(history)
    lines = [
        _balancer(row, seed, of_seed, results)
        for (row, seed), of_seed in found.items()
        if all(h.cell in results and any("balancing" in line for line in h.lines) for h in of_seed)
    ]
    return pd.DataFrame(lines, columns=list(_BALANCERS))


def _balancer(row: int, seed: int, histories: list[History], results: dict[str, Result]) -> dict[str, Any]:
    records = [results[h.cell].balancing for h in histories]
    times = [milliseconds_and_share(h.lines, r.every) for h, r in zip(histories, records, strict=True)]
    return {
        "row": row,
        "seed": seed,
        "at": next((r.at for r in records if r.at), ""),
        "every": max(r.every for r in records),
        "milliseconds": fmean(milliseconds for milliseconds, _ in times),
        "share": fmean(share for _, share in times),
        "gradient_memory_mb": max(r.gradient_memory_mb for r in records),
        "failures": sum(r.failures for r in records),
        "steps": sum(results[h.cell].cell.recipe.iterations for h in histories),
    }


def milliseconds_and_share(lines: Sequence[dict[str, Any]], every: int) -> tuple[float, float]:
    """What the balancer takes in a step beyond equal weights, and its share of the step.

    Medians over the lines after the first step, which warms up. Where weights are kept for some steps, the
    mean over a step that finds them and those that keep them; NaN unless both kinds were measured.
    """
    kinds: dict[bool, list[tuple[float, float]]] = defaultdict(list)
    for line in lines:
        if line["step"] > 1 and "balancing" in line:
            cost = line["balancing"]
            kinds[(line["step"] - 1) % every == 0].append((cost["milliseconds"], cost["share"]))
    medians = {
        kind: (median(time for time, _ in costs), median(share for _, share in costs))
        for kind, costs in kinds.items()
    }
    if len(medians) < min(every, 2):
        return _NAN, _NAN
    finding, keeping = medians[True], medians.get(False, (0.0, 0.0))
    milliseconds = (finding[0] + (every - 1) * keeping[0]) / every
    time, share = max(medians.values(), key=lambda cost: cost[1])
    if share == 0:
        return milliseconds, 0.0
    rest = time / share - time  # of the step, which is the same in both kinds
    return milliseconds, milliseconds / (milliseconds + rest) if milliseconds + rest else 0.0


def _balancing(line: dict[str, Any]) -> tuple[float | None, ...]:
    """Conflicts of older runs follow from their cosines."""
    values = [value for _, _, value in line["cosines"]]
    conflicts = sum(value < 0 for value in values) / len(values) if values else None
    cost = line.get("balancing") or {}
    return (
        line.get("conflicts", conflicts),
        line.get("condition"),
        cost.get("milliseconds"),
        cost.get("share"),
        line.get("failures"),
    )
