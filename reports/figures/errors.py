"""Where predictions are wrong: a figure a task, errors of all rows on one scale."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from PIL import Image

from mtlbench.picture_errors import Coding, coding_of, errors
from mtlbench.results import Results, TaskColumn
from mtlbench.table import tabulate

from .chart import Chart
from .leading import leading
from .sheet import Sheet
from .style import GREY, INK, PAGE, short

SAMPLES = 3
_ROWS = 6
_HIGHEST = 7.0  # inches of pictures, that a page and its caption have room for
_MAP = "magma_r"
_RIGHT_OR_WRONG = ListedColormap(["#f3efe6", "#D55E00"])
_UNLABELLED = (178, 190, 202)
_NAME, _BELOW = 0.12, 0.38  # inches: a line of a name, and the room of the scale


@dataclass(frozen=True)
class Sample:
    """One image's files; predictions by row."""

    image: Path | None
    label: Path
    predictions: dict[int, Path]


@dataclass(frozen=True)
class Errors:
    """One task: how it was drawn, the rows' names, and the images."""

    task: str
    coding: Coding
    names: dict[int, str]
    samples: tuple[Sample, ...]


def charts(results: Results) -> list[Chart]:
    """One chart a task whose drawing is known and that has labels and predictions."""
    found = []
    for task in results.tasks:
        prepared, note = prepare(results, task)
        if prepared:
            title = f"Errors of {task.name}"
            text = f"{_caption(prepared)} {note}".strip()
            found.append(Chart(f"errors_{task.name}", title, text, partial(draw, prepared)))
    return found


def prepare(results: Results, task: TaskColumn) -> tuple[Errors | None, str]:
    """The first few images that have a label, and the leading rows; and a note where rows are left out."""
    samples: dict[str, dict[tuple[str, int], Path]] = {}
    for picture in results.pictures:
        if picture.task in (None, task.name) and picture.path.is_file():
            samples.setdefault(picture.sample, {})[picture.kind, picture.row] = picture.path
    known = [files for files in samples.values() if ("label", -1) in files][:SAMPLES]
    rows = {row for files in known for kind, row in files if kind == "prediction"}
    coding = coding_of([read(files["label", -1]) for files in known]) if rows else None
    if coding is None:
        return None, ""
    names = {row: name for row, name in tabulate(results).names().items() if row in rows}
    chosen, note = leading(results, list(names), _ROWS)
    shown = tuple(
        Sample(
            files.get(("image", -1)),
            files["label", -1],
            {row: files["prediction", row] for row in chosen if ("prediction", row) in files},
        )
        for files in known
    )
    return Errors(task.name, coding, {row: names[row] for row in chosen}, shown), note


def read(path: Path) -> np.ndarray:
    """(H, W, 3) uint8."""
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def draw(found: Errors) -> Figure:
    """Two lines an image: the label and predictions, under them the image and the errors with their means."""
    columns = 1 + len(found.names)
    label = read(found.samples[0].label)
    aspect = label.shape[0] / label.shape[1]
    width = PAGE * min(1.0, columns / 5)
    lines = max(name.count("\n") + 1 for name in _shortened(found, width / columns))
    fitting = max(1, int(_HIGHEST / (2 * aspect * width / columns)))
    samples = found.samples[:fitting]
    sheet = Sheet(width, columns, 2 * len(samples), aspect, 0.08 + _NAME * lines, _BELOW)
    means = {}
    for i, sample in enumerate(samples):
        label = read(sample.label)
        sheet.paste(Image.fromarray(label), 2 * i, 0)
        if sample.image is not None:
            sheet.paste(Image.fromarray(read(sample.image)), 2 * i + 1, 0)
        for column, row in enumerate(found.names, start=1):
            if row in sample.predictions:
                prediction = read(sample.predictions[row])
                wrong = errors(found.coding, label, prediction)
                sheet.paste(Image.fromarray(prediction), 2 * i, column)
                sheet.paste(Image.fromarray(coloured(wrong, found.coding)), 2 * i + 1, column)
                means[2 * i + 1, column] = float(np.nanmean(wrong)) if np.isfinite(wrong).any() else np.nan
    return _labelled(sheet, found, means)


def coloured(found: np.ndarray, coding: Coding) -> np.ndarray:
    """Errors (H, W) as colours (H, W, 3) uint8; grey where there is no label."""
    shares = np.nan_to_num(np.clip(found / coding.limit, 0, 1))
    colours = np.rint(_colours(coding)(shares)[..., :3] * 255).astype(np.uint8)
    colours[np.isnan(found)] = _UNLABELLED
    return colours


def _colours(coding: Coding) -> Colormap:
    return colormaps[_MAP] if coding.graded else _RIGHT_OR_WRONG


def _shortened(found: Errors, width: float) -> list[str]:
    """Names over columns of that many inches."""
    letters = max(8, int(width / 0.06))
    return ["truth", *(short(name, letters, 3) for name in found.names.values())]


def _labelled(sheet: Sheet, found: Errors, means: dict[tuple[int, int], float]) -> Figure:
    """Names over the columns, the mean in a corner of each map of errors, and the colour bar below."""
    axes = sheet.axes()
    width, height = sheet.cell
    for column, name in enumerate(_shortened(found, width)):
        place = sheet.middle(0, column)[0], -0.05
        axes.text(*place, name, ha="center", va="bottom", fontsize=7, linespacing=1.0)
    for place, mean in means.items():
        x, y = sheet.middle(*place)
        text = "no label" if np.isnan(mean) else f"{mean:.{found.coding.decimals}f}{found.coding.unit}"
        box = {"facecolor": "white", "edgecolor": "none", "pad": 0.8, "alpha": 0.85}
        axes.text(x - 0.45 * width, y + 0.42 * height, text, fontsize=6, color=INK, va="bottom", bbox=box)
    for line in range(2, sheet.lines, 2):
        axes.axhline(line * height, color=GREY, linewidth=0.6)
    _scale(sheet, found.coding)
    return sheet.figure


def _scale(sheet: Sheet, coding: Coding) -> None:
    """A colour bar, or what the two colours of right and wrong pixels mean."""
    if not coding.graded:
        patches = [Patch(color=_RIGHT_OR_WRONG(i), label=name) for i, name in enumerate(("right", "wrong"))]
        sheet.figure.legend(handles=patches, loc="lower center", ncols=2)
        return
    whole = sheet.above + sheet.height + sheet.below
    room = sheet.figure.add_axes((0.4, 0.23 / whole, 0.4, 0.07 / whole))
    bar = sheet.figure.colorbar(
        ScalarMappable(Normalize(0, coding.limit), _colours(coding)),
        cax=room,
        orientation="horizontal",
        extend="max" if coding.open_ended else "neither",
    )
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=6, length=2, pad=1)
    room.text(-0.03, 0.5, coding.error, transform=room.transAxes, ha="right", va="center", fontsize=7)


def _caption(found: Errors) -> str:
    drawn = f" ({found.coding.resolution})" if found.coding.resolution else ""
    return (
        "Each image takes two lines: ground truth and predictions (one seed), and below them the image and "
        f"each prediction's error, on the same scale for all: {found.coding.error}, taken from the drawn "
        f"pictures{drawn}. The number is the mean over the image; grey pixels have no label."
    )
