"""Predictions beside the ground truth: one figure a sample."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from mtlbench.results import Results
from mtlbench.table import tabulate

from .chart import Chart
from .leading import leading
from .sheet import Sheet
from .style import GREY, INK, PAGE, short

SAMPLES = 4
_HEADING = 0.2  # inches above the pictures
_HIGHEST = 8.5  # inches of a page
_FEWEST = 3  # rows


@dataclass(frozen=True)
class Sample:
    """One image that was scored with its labels and every row's predictions.

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
            f"Predictions on image {sample.sample}",
            " ".join(["Input and ground truth, then each row's predictions (one seed).", note]).strip(),
            partial(draw, shown),
        )
        for i, sample in enumerate(prepare(results)[:SAMPLES], start=1)
        for shown, note in [_leading(results, sample)]
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


def _leading(results: Results, sample: Sample) -> tuple[Sample, str]:
    """The lines that fit on a page, and what that leaves out."""
    names = tabulate(results).names()
    present = {name for name, _ in sample.lines}
    fitting = max(_FEWEST, int(_HIGHEST / _sheet(sample).cell[1]) - 1)  # the ground truth aside
    rows, note = leading(results, [row for row, name in names.items() if name in present], fitting)
    kept = {"ground truth", *(names[row] for row in rows)}
    return replace(sample, lines=tuple(line for line in sample.lines if line[0] in kept)), note


def draw(sample: Sample) -> Figure:
    """Names and the input in the first column, then a column a task."""
    sheet, columns = _sheet(sample), len(sample.tasks) + 1
    texts = []
    for line, (name, files) in enumerate(sample.lines):
        shown: list[Path | None] = [files.get(task) for task in sample.tasks]
        if line == 0 and sample.image is not None:
            shown = [sample.image, *shown]
        else:
            x, y = sheet.middle(line, 0)
            texts.append((x + sheet.cell[0] / 2 - 0.06, y, short(name, 22, lines=4), "right", INK))
        for column, path in enumerate(shown, start=columns - len(shown)):
            if path is None:
                texts.append((*sheet.middle(line, column), "no prediction", "center", GREY))
            else:
                with Image.open(path) as picture:
                    sheet.paste(picture, line, column)
    axes = sheet.axes()
    for x, y, text, side, colour in texts:
        axes.text(x, y, text, ha=side, va="center", color=colour)
    titles = ["input | ground truth" if sample.image is not None else "", *sample.tasks]
    for column, title in enumerate(titles):
        axes.text(sheet.middle(0, column)[0], -0.06, title, ha="center", va="baseline", fontsize=8)
    return sheet.figure


def _sheet(sample: Sample) -> Sheet:
    columns = len(sample.tasks) + 1
    width = PAGE if columns > 3 else PAGE * 0.3 * columns
    return Sheet(width, columns, len(sample.lines), _aspect(sample), above=_HEADING)


def _aspect(sample: Sample) -> float:
    """Height over width of the first picture; a sample's pictures have the same."""
    with Image.open(next(iter(sample.lines[0][1].values()))) as picture:
        return picture.height / picture.width
