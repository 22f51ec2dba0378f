"""The gallery's pictures: of each sample the image, labels, and rows' predictions, within a budget."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mtlbench.results import Picture, Results
from mtlbench.table import tabulate, valid_delta_m

from .figures.gallery import SAMPLES
from .html_packing import picture

BUDGET = 6_000_000
"""Characters of all pictures together; then rows are left out, those with the lowest delta_m first."""


def gallery(results: Results) -> dict[str, Any]:
    """Samples with their pictures as data URIs; empty without predictions.

    `first` is the place of the row to begin with, `leftOut` the number of rows that there was no room for.
    A sample holds `image`, `truth` (task -> picture) and `rows` (of each task -> prediction).
    """
    kept = [found for found in results.pictures if found.path.is_file()]
    names = tabulate(results).names()
    shown = {found.row for found in kept if found.kind == "prediction"}
    rows = [row for row in names if row in shown]
    samples = list(dict.fromkeys(found.sample for found in kept if found.kind == "prediction"))[:SAMPLES]
    if not rows or not samples:
        return {}
    kept = [found for found in kept if found.sample in samples]
    sources = _within_budget(kept, _best_first(results, rows))
    best = [row for row in _best_first(results, rows) if row in sources]
    listed = [row for row in rows if row in best]
    candidates = [row for row in best if results.rows.loc[row, "role"] == "candidate"]
    files = {path: source for found in sources.values() for path, source in found.items()}
    return {
        "samples": [_sample(results, sample, kept, files, listed) for sample in samples],
        "rows": [names[row] for row in listed],
        "first": listed.index((candidates or listed)[0]),
        "leftOut": len(rows) - len(best),
    }


def _sample(
    results: Results, sample: str, kept: Sequence[Picture], sources: dict[Path, str], rows: Sequence[int]
) -> dict[str, Any]:
    def files(row: int, kind: str) -> dict[str, str]:
        found = {
            p.task: sources[p.path]
            for p in kept
            if (p.sample, p.row, p.kind) == (sample, row, kind) and p.task is not None
        }
        return {task.name: found[task.name] for task in results.tasks if task.name in found}

    image = next((p.path for p in kept if p.sample == sample and p.kind == "image"), None)
    return {
        "name": sample,
        "image": sources[image] if image else None,
        "truth": files(-1, "label"),
        "rows": [{"predictions": files(row, "prediction")} for row in rows],
    }


def _best_first(results: Results, rows: Sequence[int]) -> list[int]:
    """Baselines, then candidates by their mean delta_m, then those that have none."""
    known = valid_delta_m(results)
    means: dict[Any, float] = {} if known.empty else known.groupby("row")["delta_m"].mean().to_dict()
    role = results.rows["role"]
    return sorted(rows, key=lambda row: (role[row] != "baseline", row not in means, -means.get(row, 0)))


def _within_budget(kept: Sequence[Picture], rows: Sequence[int]) -> dict[int, dict[Path, str]]:
    """Row -> its pictures as data URIs, of as many of the first rows as there is room for; never of none.

    Images and labels are under -1.
    """
    chosen = {-1: {found.path: picture(found.path) for found in kept if found.row == -1}}
    room = BUDGET - sum(map(len, chosen[-1].values()))
    for row in rows:
        made = {found.path: picture(found.path) for found in kept if found.row == row}
        room -= sum(map(len, made.values()))
        if room < 0 and len(chosen) > 1:
            break
        chosen[row] = made
    return chosen
