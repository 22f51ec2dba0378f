"""Predictions beside the ground truth: one figure a sample."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import matplotlib.image as mpimg
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from mtlbench.results import Results
from mtlbench.table import tabulate

from .chart import Chart
from .style import GREY, PAGE, short

SAMPLES = 4


@dataclass(frozen=True)
class Sample:
    """One validation image with its labels and every row's predictions.

    Attributes:
        tasks: the columns.
        image: the input, if it was kept.
        lines: (name, task -> file); the ground truth first.
    """

    sample: str
    tasks: tuple[str, ...]
    image: Path | None
    lines: tuple[tuple[str, dict[str, Path]], ...]


def charts(results: Results) -> list[Chart]:
    """One chart a sample, for the first few that have predictions."""
    return [
        Chart(
            f"gallery_{i}",
            f"Predictions on validation image {sample.sample}",
            "Input and ground truth, then each row's predictions (one seed).",
            partial(draw, sample),
        )
        for i, sample in enumerate(prepare(results)[:SAMPLES], start=1)
    ]


def prepare(results: Results) -> list[Sample]:
    """The samples that at least one row has a prediction for; a file that is gone counts as missing."""
    kept = [picture for picture in results.pictures if picture.path.is_file()]
    names = {-1: "ground truth", **tabulate(results).names()}
    samples = []
    for sample in dict.fromkeys(picture.sample for picture in kept):
        of_sample = [picture for picture in kept if picture.sample == sample]
        files: dict[int, dict[str, Path]] = {}
        for picture in of_sample:
            if picture.task is not None and picture.row in names:
                files.setdefault(picture.row, {})[picture.task] = picture.path
        image = next((picture.path for picture in of_sample if picture.kind == "image"), None)
        shown = {task for found in files.values() for task in found}
        tasks = tuple(task.name for task in results.tasks if task.name in shown)
        lines = tuple((name, files[row]) for row, name in names.items() if row in files)
        if files.keys() - {-1} and tasks:
            samples.append(Sample(sample, tasks, image, lines))
    return samples


def draw(sample: Sample) -> Figure:
    """Names and the input in the first column, then a column a task."""
    first = mpimg.imread(next(iter(sample.lines[0][1].values())))
    columns = len(sample.tasks) + 1
    width = PAGE if columns > 3 else PAGE * 0.3 * columns
    cell = width / columns
    height = (cell * first.shape[0] / first.shape[1] + 0.03) * len(sample.lines) + 0.25
    figure = Figure(
        figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=0.015, h_pad=0.015, wspace=0, hspace=0)
    )
    axes = figure.subplots(len(sample.lines), columns, squeeze=False)
    for i, (line, (name, files)) in enumerate(zip(axes, sample.lines, strict=True)):
        _name(line[0], name, sample.image if i == 0 else None)
        for panel, task in zip(line[1:], sample.tasks, strict=True):
            _show(panel, files.get(task))
            if i == 0:
                panel.set_title(task)
    return figure


def _name(axes: Axes, name: str, image: Path | None) -> None:
    """The input's picture in the first line, a row's name in the others."""
    if image is not None:
        _show(axes, image)
        axes.set_title("input | ground truth")
        return
    axes.set_axis_off()
    axes.text(0.96, 0.5, short(name, 22, lines=4), ha="right", va="center", transform=axes.transAxes)


def _show(axes: Axes, path: Path | None) -> None:
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    if path is None:
        axes.text(0.5, 0.5, "no prediction", ha="center", va="center", color=GREY, transform=axes.transAxes)
        return
    axes.imshow(mpimg.imread(path))
