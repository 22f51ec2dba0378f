"""From the store to what reports are made of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from mtlbench import histories
from mtlbench.errors import MtlbenchError
from mtlbench.evaluation import delta_m
from mtlbench.folder import Result
from mtlbench.registry import unknown
from mtlbench.results import Picture, Results, TaskColumn
from mtlbench.store import CellRecord, Runs

AXES = ("dataset", "backbone", "method", "balancer", "tuning", "recipe", "protocol")
_COMPARED_WITHIN = ("dataset", "backbone", "tuning", "recipe")
"""A row's baseline is the one that agrees with it on these."""


def collect(runs: Runs, grid: str) -> Results:
    """Everything about one grid.

    Raises:
        MtlbenchError: no grid of that name was run here.
    """
    grids = runs.grids()
    if grid not in grids:
        raise MtlbenchError(unknown(f"grid in {runs.root}", grid, sorted(grids)))
    rows, cells = grids[grid], runs.cells()
    results = {id: result for id, cell in cells.items() if (result := cell.result) is not None}
    scores = _scores(rows, results)
    tasks = _task_columns(rows, results)
    read = _histories(rows, runs)
    return Results(
        grid=grid,
        rows=_rows(rows, cells),
        scores=scores,
        delta_m=_delta_m(rows, scores, tasks),
        costs=_costs(rows, results),
        losses=histories.losses(read),
        cosines=histories.cosines(read),
        gradients=histories.gradients(read),
        balancing=histories.balancing(read),
        balancers=histories.balancers(read, results),
        tasks=tasks,
        pictures=_pictures(rows, results, runs),
        captions=_captions(rows, results, tasks),
        failures=_failures(rows, cells),
    )


def _rows(rows: list[dict[str, Any]], cells: dict[str, CellRecord]) -> pd.DataFrame:
    lines = [{"role": row["role"], **row["labels"], "state": _state(row, cells)} for row in rows]
    return pd.DataFrame(lines, columns=["role", *AXES, "state"], index=pd.RangeIndex(len(rows), name="row"))


def _state(row: dict[str, Any], cells: dict[str, CellRecord]) -> str:
    if row["skipped"]:
        return f"skipped: {row['skipped']}"
    ids = [cell for seed in row["cells"].values() for cell in seed]
    states = [cells[cell].state if cell in cells else "new" for cell in ids]
    if all(state == "done" for state in states):
        return "done"
    failed = states.count("failed")
    return (
        f"{failed} of {len(ids)} cells failed"
        if failed
        else f"{states.count('done')} of {len(ids)} cells done"
    )


def _each(rows: list[dict[str, Any]]) -> list[tuple[int, int, list[str]]]:
    """(row, seed, ids of its cells)."""
    return [(i, int(seed), ids) for i, row in enumerate(rows) for seed, ids in row["cells"].items()]


def _scores(rows: list[dict[str, Any]], results: dict[str, Result]) -> pd.DataFrame:
    lines = [
        (row, seed, task, metric, value, metric == results[cell].tasks[task].metric)
        for row, seed, ids in _each(rows)
        for cell in ids
        if cell in results
        for task, metrics in results[cell].scores.items()
        for metric, value in metrics.items()
    ]
    return pd.DataFrame(lines, columns=["row", "seed", "task", "metric", "value", "primary"])


def _task_columns(rows: list[dict[str, Any]], results: dict[str, Result]) -> tuple[TaskColumn, ...]:
    """In the order of the grid's tasks."""
    order = list(dict.fromkeys(task for row in rows for task in row["tasks"]))
    records = {task: record for result in results.values() for task, record in result.tasks.items()}
    return tuple(
        TaskColumn(task, r.heading, r.metric, r.higher_is_better, r.scale)
        for task in order
        if (r := records.get(task)) is not None
    )


def _delta_m(rows: list[dict[str, Any]], scores: pd.DataFrame, tasks: tuple[TaskColumn, ...]) -> pd.DataFrame:
    """Per seed, against the same seed of the row's baseline; only where both have every task.

    A baseline of exactly 0 has no relative gains: there is no line then.
    """
    directions = {task.name: task.higher_is_better for task in tasks}
    primary = scores[scores["primary"]]
    by_row: dict[tuple[int, int], dict[str, float]] = {}
    for row, seed, task, value in primary[["row", "seed", "task", "value"]].itertuples(index=False):
        by_row.setdefault((row, seed), {})[task] = value
    lines = []
    for row, seed, _ in _each(rows):
        baseline = _baseline_of(row, rows)
        found, compared = by_row.get((row, seed), {}), by_row.get((baseline, seed), {})
        needed = {task: directions[task] for task in rows[row]["tasks"] if task in directions}
        if needed and all(task in found and compared.get(task, 0) != 0 for task in rows[row]["tasks"]):
            lines.append((row, seed, delta_m(found, compared, needed)))
    return pd.DataFrame(lines, columns=["row", "seed", "delta_m"])


def _baseline_of(row: int, rows: list[dict[str, Any]]) -> int:
    """Index of the baseline that a row is compared with, -1 where there is none."""
    place = [rows[row]["labels"][axis] for axis in _COMPARED_WITHIN]
    for i, other in enumerate(rows):
        if other["role"] == "baseline" and [other["labels"][axis] for axis in _COMPARED_WITHIN] == place:
            return i
    return -1


def _costs(rows: list[dict[str, Any]], results: dict[str, Result]) -> pd.DataFrame:
    lines = []
    for row, seed, ids in _each(rows):
        if not ids or not all(cell in results for cell in ids):
            continue
        costs = [results[cell].costs for cell in ids]
        seconds = sum(c.train_seconds for c in costs)
        images = sum(c.images_per_second * c.train_seconds for c in costs)
        lines.append(
            {
                "row": row,
                "seed": seed,
                "parameters": sum(c.parameters for c in costs),
                "macs": sum(c.macs for c in costs),
                "train_seconds": seconds,
                "images_per_second": images / seconds if seconds else 0.0,
                "peak_memory_mb": max(c.peak_memory_mb for c in costs),
            }
        )
    names = ["row", "seed", "parameters", "macs", "train_seconds", "images_per_second", "peak_memory_mb"]
    return pd.DataFrame(lines, columns=names)


def _histories(rows: list[dict[str, Any]], runs: Runs) -> list[histories.History]:
    return [
        histories.History(row, seed, cell, histories.read_history(runs.folder(cell).history))
        for row, seed, ids in _each(rows)
        for cell in ids
    ]


def _pictures(rows: list[dict[str, Any]], results: dict[str, Result], runs: Runs) -> tuple[Picture, ...]:
    """Of the first seed of each row; images and labels once."""
    pictures: dict[tuple[int, str, str | None, str], Path] = {}
    first_seeds = [(i, next(iter(row["cells"].values()))) for i, row in enumerate(rows) if row["cells"]]
    for row, ids in first_seeds:
        for cell in (cell for cell in ids if cell in results):
            for file in sorted(runs.folder(cell).predictions.glob("*/*.png")):
                task, _, kind = file.stem.rpartition(".")
                whose = row if kind == "prediction" else -1
                pictures.setdefault((whose, file.parent.name, task or None, kind), file)
    return tuple(
        Picture(row, sample, task, kind, path) for (row, sample, task, kind), path in pictures.items()
    )


def _failures(rows: list[dict[str, Any]], cells: dict[str, CellRecord]) -> pd.DataFrame:
    ids = dict.fromkeys(cell for _, _, found in _each(rows) for cell in found)
    lines = [
        (cell, failure.kind, failure.message)
        for cell in ids
        if cell in cells and (failure := cells[cell].failure) is not None
    ]
    return pd.DataFrame(lines, columns=["cell", "kind", "message"])


def _captions(
    rows: list[dict[str, Any]], results: dict[str, Result], tasks: tuple[TaskColumn, ...]
) -> dict[str, str]:
    """What a reader must know to trust the numbers."""
    used = [results[cell] for _, _, ids in _each(rows) for cell in ids if cell in results]
    seeds = sorted({seed for _, seed, _ in _each(rows)})
    captions = {
        "seeds": ", ".join(map(str, seeds)),
        "metrics": ", ".join(f"{task.name} {task.metric}" for task in tasks),
        "baseline": ", ".join(
            dict.fromkeys(row["labels"]["method"] for row in rows if row["role"] == "baseline")
        ),
    }
    if not used:
        return captions
    recipes = dict.fromkeys(_recipe_text(result) for result in used)
    images = dict.fromkeys(
        f"{r.cell.dataset} ({r.images['train']} training, {r.images['val']} validation images)" for r in used
    )
    sizes = dict.fromkeys("{} x {}".format(*result.costs.input_size) for result in used)
    return captions | {
        "recipe": "; ".join(recipes),
        "dataset": "; ".join(images),
        "input_size": ", ".join(sizes),
        "selection": "last",
    }


def _recipe_text(result: Result) -> str:
    recipe = result.cell.recipe
    parts = [
        f"{recipe.iterations} iterations",
        f"batch {recipe.batch_size}",
        f"{recipe.optimizer} lr {recipe.lr:g}",
    ]
    parts += [f"weight decay {recipe.weight_decay:g}", f"{recipe.schedule} schedule", recipe.precision]
    return ", ".join(parts)
