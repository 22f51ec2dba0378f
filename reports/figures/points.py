"""Points with names: a scatter plot whose names stand in a column at the right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from .style import GREY, INK, PAGE, colours, legend, short

_LINE = 0.15  # inches a name


@dataclass(frozen=True)
class Point:
    """One row of the table.

    Attributes:
        kind: points of one kind have one colour.
        size: what the area is proportional to; None where it is not known.
        note: stands behind the name.
        hollow: the baseline.
    """

    name: str
    kind: str
    x: float
    y: float
    size: float | None = None
    note: str = ""
    hollow: bool = False


def draw(points: Sequence[Point], xlabel: str, ylabel: str, *, key: bool = False) -> Figure:
    """Points at the left, their names at the right, joined by thin lines; `key`: a legend of the kinds."""
    palette = colours(point.kind for point in points)
    handles = [
        Line2D([], [], label=kind, color=colour, marker="o", markersize=4.5, linestyle="")
        for kind, colour in palette.items()
    ]
    width = PAGE * 0.85
    under = legend(handles if key else [], width)
    height = max(2.4, 0.8 + _LINE * len(points))
    figure = Figure(figsize=(width, height + under.height), layout="constrained")
    axes = figure.subplots()
    largest = max((point.size or 0 for point in points), default=0) or 1
    for point in points:
        area = 12 + 140 * (point.size or 0) / largest if any(p.size for p in points) else 30
        colour = palette[point.kind]
        face = "white" if point.hollow else colour
        axes.scatter(point.x, point.y, s=area, color=face, edgecolor=colour, alpha=0.85, zorder=3)
    axes.axhline(0, color=GREY, linewidth=0.8, linestyle=(0, (4, 2)))
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.margins(x=0.12, y=0.12)
    axes.grid()
    axes.set_axisbelow(True)
    _name_points(axes, points, palette, spacing=_LINE / (height - 0.5))
    under.draw(figure)
    return figure


def _name_points(axes: Axes, points: Sequence[Point], palette: Mapping[str, str], *, spacing: float) -> None:
    """Names as near to their points' heights as they can stand without hiding each other."""
    ordered = sorted(points, key=lambda point: (point.y, -point.x))
    low, high = axes.get_ylim()
    places = spread([(point.y - low) / (high - low) for point in ordered], spacing)
    for point, place in zip(ordered, places, strict=True):
        axes.annotate(
            short(point.name, 40, lines=1) + (f" ({point.note})" if point.note else ""),
            xy=(point.x, point.y),
            xytext=(1.06, place),
            textcoords="axes fraction",
            va="center",
            fontsize=7,
            color=INK,
            arrowprops={
                "arrowstyle": "-",
                "color": palette[point.kind],
                "linewidth": 0.6,
                "alpha": 0.7,
                "relpos": (0, 0.5),
            },
        )


def spread(heights: list[float], spacing: float) -> list[float]:
    """Ascending heights of an axis from 0 to 1, moved apart to at least `spacing`, none over the top."""
    places: list[float] = []
    for height in heights:
        places.append(max(height, places[-1] + spacing) if places else height)
    ceiling = 0.98
    for i in reversed(range(len(places))):
        places[i] = min(places[i], ceiling)
        ceiling = places[i] - spacing
    return places
