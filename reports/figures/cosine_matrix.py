"""Which tasks pull together and which conflict: mean cosines of their gradients, tasks against tasks."""

from __future__ import annotations

from functools import partial

import numpy as np

from mtlbench.entries import number
from mtlbench.results import Results
from mtlbench.table import tabulate

from .chart import Chart
from .leading import leading
from .matrix import Labels, Matrix, draw

_ROWS = 9
_SMALLEST_LIMIT = 0.2
_CAPTION = (
    "Cosine between the gradients of two tasks, the mean over all recorded steps and seeds, where the row's "
    "balancer takes them. Blue: the tasks pull together; red: they conflict."
)


def charts(results: Results) -> list[Chart]:
    """One chart, if any row recorded cosines of three tasks or more; of two it is a single number."""
    maps, tasks, note = prepare(results)
    if not maps or len(tasks) < 3:
        return []
    labels = Labels(tasks, "", "", "cosine")
    make = partial(draw, maps, labels, smallest_limit=_SMALLEST_LIMIT)
    return [Chart("cosine_means", "Mean gradient cosines", f"{_CAPTION} {note}".strip(), make)]


def prepare(results: Results) -> tuple[list[Matrix], tuple[str, ...], str]:
    """A symmetric map for each row that has cosines, the tasks, and a note where rows are left out."""
    finite = results.cosines[np.isfinite(results.cosines["cosine"].to_numpy(dtype=float))]
    names = {row: name for row, name in tabulate(results).names().items() if (finite["row"] == row).any()}
    used = {*finite["task_a"], *finite["task_b"]}
    tasks = tuple(task.name for task in results.tasks if task.name in used)
    chosen, note = leading(results, list(names), _ROWS)
    maps = []
    for row in chosen:
        of_row = finite[finite["row"] == row]
        by_seed = of_row.groupby(["task_a", "task_b", "seed"])["cosine"].mean()
        half = by_seed.groupby(["task_a", "task_b"]).mean().unstack().reindex(index=tasks, columns=tasks)
        values = half.combine_first(half.T).to_numpy(float)
        texts = [["" if np.isnan(x) else number(x, 2, signed=True) for x in line] for line in values]
        maps.append(Matrix(names[row], values, np.array(texts)))
    return maps, tasks, note
