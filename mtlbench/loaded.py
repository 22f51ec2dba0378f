"""Results as tidy frames, for people who draw their own: `mtlbench.load`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mtlbench.errors import MtlbenchError
from mtlbench.folder import Result
from mtlbench.registry import unknown
from mtlbench.spec import Cell
from mtlbench.store import Runs

if TYPE_CHECKING:
    import pandas as pd

AXES = ("dataset", "backbone", "method", "balancer", "tuning")
COSTS = (
    "parameters",
    "trainable",
    "encoder_trainable",
    "decoder_trainable",
    "encoder_passes",
    "macs",
    "train_seconds",
    "peak_memory_mb",
)
COLUMNS = (
    "cell",
    *AXES,
    "recipe",
    "seed",
    "tasks",
    "trained",
    "stage",
    "split",
    "task",
    "metric",
    "value",
    "primary",
    "higher_is_better",
    *COSTS,
)


def load(
    root: str | Path, url: str | None = None, *, grid: str | None = None, held_out: bool = False
) -> pd.DataFrame:
    """All scores of a folder of runs as a tidy frame, one row a score.

    Columns:
        cell: id, also the name of its folder.
        dataset, backbone, method, balancer, tuning: names, with the options that differ from the defaults.
        recipe: the fields that differ from the defaults, as JSON.
        seed: whole number.
        tasks, trained: names that the cell predicts, and those whose losses trained it, with commas between.
        stage: how many cells it goes on from (0: from the backbone's weights).
        split: `val`, or `holdout` where held-out training images were scored.
        task, metric, value: one score, unscaled; `metric` is the full name of the variant.
        primary: whether tables show this metric of the task.
        higher_is_better: direction, of primary metrics; missing elsewhere.
        parameters, trainable, macs, train_seconds, peak_memory_mb: costs of the cell; of what trains,
            encoder_trainable is in the backbone, decoder_trainable elsewhere; encoder_passes: images that
            enter the encoder for one image.

    Args:
        root: the folder of runs.
        url: of the store, where it is not in that folder.
        grid: only the cells of this grid.
        held_out: also the trials of studies, which were scored on held-out training images: never compare
            them with scores on validation images.

    Raises:
        MtlbenchError: there are no runs in `root`, or no such grid.
    """
    import pandas as pd  # slow to import

    runs = Runs(Path(root), url)
    wanted = None if grid is None else cells_of(runs, grid)
    lines = [
        line
        for id, result in results(runs, wanted)
        if held_out or not result.cell.holdout
        for line in _scores(id, result)
    ]
    frame = pd.DataFrame(lines, columns=list(COLUMNS))
    return frame.astype({"higher_is_better": "boolean"})


def cells_of(runs: Runs, grid: str) -> set[str]:
    """Ids of the cells of a grid.

    Raises:
        MtlbenchError: no grid of that name was run here.
    """
    grids = runs.grids()
    if grid not in grids:
        raise MtlbenchError(unknown(f"grid in {runs.root}", grid, sorted(grids)))
    return {cell for row in grids[grid] for cells in row["cells"].values() for cell in cells}


def results(runs: Runs, wanted: Iterable[str] | None = None) -> Iterator[tuple[str, Result]]:
    """The results of all cells that are done, or of those of them that are wanted, by id."""
    chosen = None if wanted is None else set(wanted)
    for record in runs.cells().values():
        if (chosen is None or record.id in chosen) and (result := record.result) is not None:
            yield record.id, result


def facts(cell: Cell) -> dict[str, Any]:
    """What a cell is, as columns."""
    return {
        **{axis: str(getattr(cell, axis)) for axis in AXES},
        "recipe": cell.recipe.canonical,
        "seed": cell.seed,
        "tasks": ",".join(cell.tasks),
        "trained": ",".join(cell.trained),
        "stage": len(cell.stages) - 1,
        "split": "holdout" if cell.holdout else "val",
    }


def _scores(id: str, result: Result) -> Iterator[dict[str, Any]]:
    known = {"cell": id, **facts(result.cell)}
    costs = result.costs.model_dump(include=set(COSTS))
    for task, metrics in result.scores.items():
        record = result.tasks[task]
        for metric, value in metrics.items():
            primary = metric == record.metric
            direction = record.higher_is_better if primary else None
            score = {"task": task, "metric": metric, "value": value, "primary": primary}
            yield {**known, **score, "higher_is_better": direction, **costs}
