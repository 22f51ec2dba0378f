"""Predictions beside the ground truth: one figure a sample."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from mtlbench.results import Results
from mtlbench.table import tabulate

from .chart import DPI, Chart
from .style import GREY, PAGE, short

SAMPLES = 4
_HEADING = 0.2  # inches above the pictures
_GAP = 0.015  # inches around a picture


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
    """Names and the input in the first column, then a column a task.

    All pictures are pasted into one image, whose axes' unit is an inch: axes for each would take seconds.
    """
    columns = len(sample.tasks) + 1
    width = PAGE if columns > 3 else PAGE * 0.3 * columns
    cell = _Cell(width / columns, width / columns * _aspect(sample))
    height = cell.height * len(sample.lines)
    figure = Figure(figsize=(width, height + _HEADING))
    axes = figure.add_axes((0, 0, 1, 1))
    canvas = Image.new("RGB", (round(width * DPI), round(height * DPI)), "white")
    for line, (name, files) in enumerate(sample.lines):
        shown: list[Path | None] = [files.get(task) for task in sample.tasks]
        if line == 0 and sample.image is not None:
            shown = [sample.image, *shown]
        else:
            text = short(name, 22, lines=4)
            axes.text(cell.width - 0.06, (line + 0.5) * cell.height, text, ha="right", va="center")
        for column, path in enumerate(shown, start=columns - len(shown)):
            if path is None:
                place = ((column + 0.5) * cell.width, (line + 0.5) * cell.height)
                axes.text(*place, "no prediction", ha="center", va="center", color=GREY)
            else:
                cell.paste(canvas, path, line, column)
    titles = ["input | ground truth" if sample.image is not None else "", *sample.tasks]
    for column, title in enumerate(titles):
        axes.text((column + 0.5) * cell.width, -0.06, title, ha="center", va="baseline", fontsize=8)
    axes.imshow(canvas, extent=(0, width, height, 0), aspect="auto", interpolation="nearest", zorder=0)
    axes.set(xlim=(0, width), ylim=(height, -_HEADING))
    axes.set_axis_off()
    return figure


@dataclass(frozen=True)
class _Cell:
    """The room of a picture, in inches."""

    width: float
    height: float

    def paste(self, canvas: Image.Image, path: Path, line: int, column: int) -> None:
        """Put a picture where it belongs, with a gap around it."""
        left, top = (column * self.width + _GAP) * DPI, (line * self.height + _GAP) * DPI
        size = round((self.width - 2 * _GAP) * DPI), round((self.height - 2 * _GAP) * DPI)
        with Image.open(path) as picture:
            resized = picture.convert("RGB").resize(size, Image.Resampling.HAMMING)
        canvas.paste(resized, (round(left), round(top)))


def _aspect(sample: Sample) -> float:
    """Height over width of the first picture; a sample's pictures have the same."""
    with Image.open(next(iter(sample.lines[0][1].values()))) as picture:
        return picture.height / picture.width
