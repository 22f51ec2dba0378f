"""Heat maps of tasks against tasks: numbers in fields, several maps with one colour scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from .style import COLUMN, INK, LIGHT, PAGE, short

_LONGEST = 14  # letters of a task's name on a line
_LETTER = 0.062  # inches
_FIELD, _SMALLEST_FIELD = 0.58, 0.4  # inches
_MAP = "RdBu"


@dataclass(frozen=True)
class Matrix:
    """One map: values of lines x columns (NaN: none, drawn grey), and what stands in each field."""

    title: str
    values: np.ndarray
    texts: np.ndarray


@dataclass(frozen=True)
class Labels:
    """What the lines and columns are, and the values' name and unit."""

    tasks: tuple[str, ...]
    columns: str
    lines: str
    value: str


def draw(maps: Sequence[Matrix], labels: Labels, *, smallest_limit: float, most: int = 3) -> Figure:
    """Up to `most` maps a line; the colour scale is symmetric, and reaches at least to `smallest_limit`."""
    count, columns = len(labels.tasks), min(most, len(maps))
    lines = -(-len(maps) // columns)
    names = 0.35 + _LETTER * min(_LONGEST, max(map(len, labels.tasks)))
    one = (COLUMN - names - 0.9) / count
    field = one if columns == 1 and one >= _SMALLEST_FIELD else (PAGE - names - 0.9) / (count * columns)
    field = min(_FIELD, field)
    turned = max(map(len, labels.tasks)) * _LETTER > field
    under = 0.3 if turned else 0.0
    title = 0.12 * max(short(found.title, 30).count("\n") for found in maps)
    width = max(2.6, names + 0.9 + columns * count * field)
    height = 0.45 + under + lines * (0.3 + title + count * field)
    figure = Figure(figsize=(width, height), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True)
    limit = max(smallest_limit, max(float(np.nanmax(np.abs(found.values))) for found in maps))
    for axes, found in zip(panels.flat, maps, strict=False):
        _panel(axes, found, labels.tasks, limit)
    for axes in panels.flat[len(maps) :]:
        axes.set_axis_off()
    how: Any = {"rotation": 40, "ha": "right"} if turned else {"rotation": 0}
    for axes in panels.flat[: len(maps)][-columns:]:
        names_of_columns = [short(task, _LONGEST) for task in labels.tasks]
        axes.tick_params(axis="x", labelbottom=True)
        axes.set_xticks(np.arange(count) + 0.5, names_of_columns, **how)
        axes.set_xlabel(labels.columns)
    for axes in panels[:, 0]:
        axes.set_ylabel(labels.lines)
    scale = ScalarMappable(Normalize(-limit, limit), _MAP)
    bar = figure.colorbar(scale, ax=panels, pad=0.02, aspect=14, shrink=0.9 if lines == 1 else 1.2 / lines)
    bar.set_label(labels.value)
    bar.outline.set_visible(False)
    return figure


def _panel(axes: Axes, found: Matrix, tasks: Sequence[str], limit: float) -> None:
    import seaborn as sns

    names = [short(task, _LONGEST) for task in tasks]
    sns.heatmap(
        found.values,
        ax=axes,
        vmin=-limit,
        vmax=limit,
        cmap=_MAP,
        annot=found.texts,
        fmt="",
        annot_kws={"fontsize": 6.5, "linespacing": 1.05},
        linewidths=1,
        cbar=False,
        xticklabels=names,
        yticklabels=names,
    )
    axes.set_facecolor(LIGHT)
    axes.tick_params(length=0)
    axes.tick_params(axis="y", rotation=0)
    axes.set_title(short(found.title, 30), color=INK, fontsize=7.5)
