"""What a report is made of: the numbers of one grid, read from the store, as tidy frames."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd


@dataclass(frozen=True)
class TaskColumn:
    """How tables and figures show a task's primary metric.

    Attributes:
        name: of the task.
        heading: short name of the metric (`mIoU`).
        metric: full variant name (`miou.dataset.absent0`).
        higher_is_better: its direction.
        scale: what values are multiplied with for display.
    """

    name: str
    heading: str
    metric: str
    higher_is_better: bool
    scale: float


@dataclass(frozen=True)
class Picture:
    """One kept picture: the image (task None), or a task's label or prediction, of one validation sample.

    Attributes:
        row: whose prediction; -1 for images and labels, which all rows share.
    """

    row: int
    sample: str
    task: str | None
    kind: str  # "image", "label" or "prediction"
    path: Path


@dataclass(frozen=True, eq=False)
class Results:
    """One grid's results. A row is a line of the table: dataset x backbone x method x balancer x tuning x
    recipe.

    Compared and hashed by identity, so that what is made of it can be kept with it.

    Attributes:
        grid: name of the grid.
        rows: index `row`; columns role (`baseline`, `reference`, `candidate`), dataset, backbone, method,
            balancer, tuning, recipe, protocol (labels to print), state (`done`, or why the row is incomplete,
            to print).
        scores: columns row, seed, task, metric, value (float), primary (bool): one line a number, unscaled.
        delta_m: columns row, seed, delta_m (percent, positive = better than the baseline); empty without a
            baseline.
        costs: columns row, seed, parameters, macs (of one image of `input_size`), train_seconds,
            images_per_second, peak_memory_mb; a row of several networks (single task) holds their sums.
        losses: columns row, seed, task, step, loss, weight: training curves; weight is NaN where a balancer
            has none.
        cosines: columns row, seed, step, task_a, task_b, cosine: of task gradients; empty where none were
            computed.
        gradients: columns row, seed, step, task, norm: of task gradients where the balancer takes them;
            empty where none were computed.
        balancing: columns row, seed, step, conflicts (share of the pairs of tasks whose cosine is negative),
            condition (number of the matrix of cosines), milliseconds (of the step that the balancer took
            beyond equal weights), share (of the step that these are), failures (steps so far in which the
            balancer had no solution); NaN where nothing was recorded.
        balancers: columns row, seed, at (where task gradients were taken; empty: losses only), every (steps
            between two times that weights are found), milliseconds and share (of a typical step),
            gradient_memory_mb, failures, steps (that `failures` is out of): of what is done and recorded it.
        tasks: in display order.
        pictures: of one seed.
        captions: what a caption must say: seeds, recipe, selection, metrics, baseline, input_size, dataset.
        failures: columns cell, kind, message: cells of the grid that failed.
    """

    grid: str
    rows: pd.DataFrame
    scores: pd.DataFrame
    delta_m: pd.DataFrame
    costs: pd.DataFrame
    losses: pd.DataFrame
    cosines: pd.DataFrame
    gradients: pd.DataFrame
    balancing: pd.DataFrame
    balancers: pd.DataFrame
    tasks: tuple[TaskColumn, ...]
    pictures: tuple[Picture, ...]
    captions: dict[str, str]
    failures: pd.DataFrame
