"""What a report is made of: the numbers of one grid, read from the store, as tidy frames."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from mtlbench.cell_pages import CellPages
from mtlbench.layouts.settings import EFFORTS, ReportSettings
from mtlbench.studies.records import StudyRecord

COSTS = ("parameters", "macs", "module_macs", "train_seconds", "images_per_second", "peak_memory_mb")
"""Of a row and seed; `module_macs` are those that published tables print (`mtlbench.profiling`)."""


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
    """One kept picture: the image (task None), or a task's label or prediction, of one scored sample.

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
            to print); evaluated (tasks), trained (tasks whose losses ever trained the row), stages (tuples
            of tasks: those trained in each stage), networks (of a seed: one, or one per task), base (the row
            whose networks it goes on from, -1 where there is none or it is in no row), baseline (the row that
            Δm compares it with, -1 where there is none), cells (ids of all seeds: rows that hold the same
            ones are the same networks under two labels).
        scores: columns row, seed, task, metric, value (float), primary (bool): one line a number, unscaled.
        delta_m: columns row, seed, delta_m (percent, positive = better than the baseline), of rows that
            trained every task of their data set; empty without a baseline.
        costs: columns row, seed, `COSTS`, and pixels (of an image, where known); multiply-accumulates are of
            one image; a row of several networks (single task) holds their sums; times are of all stages.
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
        failures: columns cell, kind, message: cells of the grid that failed; pruned ones did not.
        published: names of the papers' tables that the grid is compared with (`mtlbench.published_numbers`).
        validation: columns row, seed, task, step, value (primary metric, unscaled): scores on the way.
        studies: those that tuned the grid's settings.
        pages: what a page about each cell shows.
        report: how the grid wants its table.
        settings: row -> what the row's first cell is, defaults left out; empty where nobody stored it.
        defaults: family -> plugin -> option -> its default, of what `settings` leaves out.
        efforts: columns row, seed, encoder_trainable, decoder_trainable, total_trainable (parameters),
            encoder_passes, gpu_hours (NaN where no GPU trained it; counts that are not known).
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
    published: tuple[str, ...] = ()
    validation: pd.DataFrame = field(
        default_factory=lambda: pd.DataFrame(columns=["row", "seed", "task", "step", "value"])
    )
    studies: tuple[StudyRecord, ...] = ()
    pages: CellPages = field(default_factory=CellPages)
    report: ReportSettings = field(default_factory=ReportSettings)
    settings: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    defaults: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)
    efforts: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(EFFORTS)))


def whole_rows(rows: pd.DataFrame) -> set[int]:
    """Of `Results.rows`, those that trained and evaluated every task that any row of their data set has.

    Only they have a delta_m: one over fewer tasks, or over a task that was not trained, is another number.
    """
    tasks = {dataset: set().union(*evaluated) for dataset, evaluated in rows.groupby("dataset")["evaluated"]}
    found = zip(rows.index, rows["dataset"], rows["evaluated"], rows["trained"], strict=True)
    return {
        int(row) for row, dataset, evaluated, trained in found if tasks[dataset] <= {*evaluated} & {*trained}
    }
