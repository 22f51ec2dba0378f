"""What leaving a task out does to each other task: heat maps."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd

from mtlbench.affinity import pairs
from mtlbench.delta_m import delta_m
from mtlbench.entries import number
from mtlbench.results import Results, whole_rows

from .chart import Chart
from .matrix import Labels, Matrix, draw

_SMALLEST_LIMIT = 0.5  # percent: noise should look pale
_CAPTION = (
    "What the task of a line gains (blue) or loses (red), in percent of its metric, when the task of the "
    "column is left out of training: networks that learned all tasks but that one against networks of the "
    "same setting and seed that learned them all. Mean over such pairs, below it their number. Red means "
    "that the task that was left out had helped."
)
_COLUMNS = ("dataset", "left_out", "target", "gain")


def charts(results: Results) -> list[Chart]:
    """One chart for each data set that has networks of all tasks, and of all but one."""
    found = gains(results)
    datasets = list(dict.fromkeys(found["dataset"]))
    charts = []
    for i, dataset in enumerate(datasets, start=1):
        several = len(datasets) > 1
        matrix, tasks = prepare(found[found["dataset"] == dataset], [task.name for task in results.tasks])
        charts.append(
            Chart(
                f"left_out_{i}" if several else "left_out",
                f"Tasks left out on {dataset}" if several else "Tasks left out",
                _CAPTION,
                partial(
                    draw,
                    [matrix],
                    Labels(tasks, "left out", "task that is scored", "gain (%)"),
                    smallest_limit=_SMALLEST_LIMIT,
                ),
            )
        )
    return charts


def gains(results: Results) -> pd.DataFrame:
    """Columns dataset, left_out, target, gain (percent): a line for each pair of networks of a seed."""
    found = pairs(results)
    if found.empty:
        return pd.DataFrame(columns=list(_COLUMNS))
    directions = {task.name: task.higher_is_better for task in results.tasks}
    whole = whole_rows(results.rows)
    primary = results.scores[results.scores["primary"].astype(bool)]
    scores = {
        (row, seed): dict(zip(of_row["task"], of_row["value"], strict=True))
        for (row, seed), of_row in primary.groupby(["row", "seed"])
    }
    lines = []
    several = set(results.rows.index[results.rows["trained"].map(len) > 2])
    kept = found[(found["kind"] == "together") & found["same_method"].astype(bool)]
    names = ["dataset", "source", "target", "seed", "smaller", "larger"]
    for dataset, source, target, seed, smaller, larger in kept[names].itertuples(index=False):
        if larger in whole and larger in several and scores[larger, seed][target] != 0:
            gain = delta_m(scores[smaller, seed], scores[larger, seed], {target: directions[target]})
            lines.append((dataset, source, target, gain))
    return pd.DataFrame(lines, columns=list(_COLUMNS))


def prepare(found: pd.DataFrame, order: list[str]) -> tuple[Matrix, tuple[str, ...]]:
    """Targets x tasks left out."""
    used = {*found["left_out"], *found["target"]}
    tasks = tuple(task for task in order if task in used)
    grouped = found.groupby(["target", "left_out"])["gain"]
    mean, count = (
        values.unstack().reindex(index=tasks, columns=tasks).to_numpy(float)
        for values in (grouped.mean(), grouped.count())
    )
    texts = np.full(mean.shape, "", dtype=object)
    for place in map(tuple, np.argwhere(np.isfinite(mean))):
        value = mean[place]
        texts[place] = f"{number(value, 2 if abs(value) < 10 else 1, signed=True)}\nn = {count[place]:.0f}"
    return Matrix("", mean, texts), tasks
