"""From the store to what reports are made of."""

from __future__ import annotations

import gc
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from mtlbench import histories
from mtlbench.cell_pages import CellPages
from mtlbench.delta_m import delta_m
from mtlbench.errors import MtlbenchError
from mtlbench.folder import Result
from mtlbench.layouts.collected import efforts, report_fields, settings_of
from mtlbench.registry import unknown
from mtlbench.results import COSTS, Picture, Results, TaskColumn, whole_rows
from mtlbench.row_records import complete, rows_frame
from mtlbench.store import CellRecord, Runs
from mtlbench.studies.records import read_studies


@contextmanager
def _without_looking_for_garbage() -> Iterator[None]:
    """Python looks for objects that refer to each other in a circle each time that many new ones are there:
    with ten thousand results, which hold no circles, that is a quarter of the work.
    """
    looked = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if looked:
            gc.enable()


@_without_looking_for_garbage()
def collect(runs: Runs, grid: str) -> Results:
    """Everything about one grid.

    Raises:
        MtlbenchError: no grid of that name was run here.
    """
    grids = runs.grids()
    if grid not in grids:
        raise MtlbenchError(unknown(f"grid in {runs.root}", grid, sorted(grids)))
    rows, cells = [complete(row) for row in grids[grid]], runs.cells()
    results = {id: result for id, cell in cells.items() if (result := cell.result) is not None}
    scores = _scores(rows, results)
    tasks = _task_columns(rows, results)
    read = _histories(rows, runs)
    frame = rows_frame(rows, cells)
    return Results(
        grid=grid,
        rows=frame,
        scores=scores,
        delta_m=_delta_m(rows, frame, scores, tasks),
        costs=_costs(rows, results),
        losses=histories.losses(read),
        cosines=histories.cosines(read),
        gradients=histories.gradients(read),
        balancing=histories.balancing(read),
        balancers=histories.balancers(read, results),
        validation=histories.validation(read),
        tasks=tasks,
        pictures=_pictures(rows, results, runs),
        captions=_captions(rows, results, tasks),
        failures=_failures(rows, cells),
        settings=settings_of(rows),
        efforts=efforts(rows, results),
        **report_fields(runs.report_keys(grid)),
        pages=CellPages(runs, rows, cells),
        studies=tuple(read_studies(runs.root, grid)),
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
    columns = ["row", "seed", "task", "metric", "value", "primary"]
    return pd.DataFrame(lines, columns=columns).astype({"primary": bool})


def _task_columns(rows: list[dict[str, Any]], results: dict[str, Result]) -> tuple[TaskColumn, ...]:
    """In the order of the grid's tasks, which the rows with most tasks show best."""
    most_first = sorted(rows, key=lambda row: len(row["tasks"]), reverse=True)
    order = list(dict.fromkeys(task for row in most_first for task in row["tasks"]))
    records = {task: record for result in results.values() for task, record in result.tasks.items()}
    return tuple(
        TaskColumn(task, r.heading, r.metric, r.higher_is_better, r.scale)
        for task in order
        if (r := records.get(task)) is not None
    )


def _delta_m(
    rows: list[dict[str, Any]], frame: pd.DataFrame, scores: pd.DataFrame, tasks: tuple[TaskColumn, ...]
) -> pd.DataFrame:
    """Of whole rows per seed, against the same seed of the row's baseline; only where both have every task.

    A baseline of exactly 0 has no relative gains: there is no line then.
    """
    directions = {task.name: task.higher_is_better for task in tasks}
    primary = scores[scores["primary"]]
    by_row: dict[tuple[int, int], dict[str, float]] = {}
    for row, seed, task, value in zip(*(primary[c] for c in ("row", "seed", "task", "value")), strict=True):
        by_row.setdefault((row, seed), {})[task] = value
    lines, whole, baselines = [], whole_rows(frame), frame["baseline"].to_dict()
    for row, seed, _ in _each(rows):
        if row not in whole:
            continue
        found, compared = by_row.get((row, seed), {}), by_row.get((baselines[row], seed), {})
        needed = {task: directions[task] for task in rows[row]["tasks"] if task in directions}
        if needed and all(task in found and compared.get(task, 0) != 0 for task in rows[row]["tasks"]):
            lines.append((row, seed, delta_m(found, compared, needed)))
    return pd.DataFrame(lines, columns=["row", "seed", "delta_m"])


def _costs(rows: list[dict[str, Any]], results: dict[str, Result]) -> pd.DataFrame:
    lines = []
    for row, seed, ids in _each(rows):
        if not ids or not all(cell in results for cell in ids):
            continue
        costs = [results[cell].costs for cell in ids]
        before = [results.get(stage.id) for cell in ids for stage in results[cell].cell.lineage[:-1]]
        stages = costs + [result.costs for result in before if result]
        seconds = math.nan if None in before else sum(c.train_seconds for c in stages)
        images = sum(c.images_per_second * c.train_seconds for c in stages)
        lines.append(
            {
                "row": row,
                "seed": seed,
                "parameters": sum(c.parameters for c in costs),
                "macs": sum(c.macs for c in costs),
                "module_macs": sum(math.nan if c.module_macs is None else c.module_macs for c in costs),
                "train_seconds": seconds,
                "images_per_second": images / seconds if seconds else 0.0,
                "peak_memory_mb": max(c.peak_memory_mb for c in stages),
                "pixels": math.prod(costs[0].input_size),
            }
        )
    return pd.DataFrame(lines, columns=["row", "seed", *COSTS, "pixels"])


def _histories(rows: list[dict[str, Any]], runs: Runs) -> list[histories.History]:
    return [
        histories.read(row, seed, cell, runs.folder(cell)) for row, seed, ids in _each(rows) for cell in ids
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
        if failure.state == "failed"
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
        f"{r.cell.dataset} ({r.images['train']} training, {_scored_images(r)})" for r in used
    )
    sizes = dict.fromkeys("{} x {}".format(*result.costs.input_size) for result in used)
    return captions | {
        "recipe": "; ".join(recipes),
        "dataset": "; ".join(images),
        "input_size": ", ".join(sizes),
        "selection": "last",
    }


def _scored_images(result: Result) -> str:
    if "val" in result.images:
        return f"{result.images['val']} validation images"
    return f"scored on {result.images['held_out']} more of the training images, held out"


def _recipe_text(result: Result) -> str:
    recipe = result.cell.recipe
    length = f"{recipe.iterations} iterations" if recipe.epochs is None else f"{recipe.epochs} epochs"
    parts = [
        f"then {length}" if result.cell.start else length,
        f"batch {recipe.batch_size}",
        f"{recipe.optimizer} lr {recipe.lr:g}",
    ]
    parts += [f"weight decay {recipe.weight_decay:g}", f"{recipe.schedule} schedule", recipe.precision]
    return ", ".join(parts)
