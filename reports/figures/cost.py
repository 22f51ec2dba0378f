"""Accuracy against cost: delta_m over multiply-accumulates, the area of a point its parameters."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mtlbench.results import Results
from mtlbench.table import tabulate

from .chart import Chart
from .style import GREY, INK, PAGE, colours, short

_LINE = 0.15  # inches a name
_CAPTION = (
    "Δm (percent, mean over seeds) against multiply-accumulates of one image; the area of a point is "
    "proportional to the parameters, which stand behind its name in millions. Up and to the left is better."
)


@dataclass(frozen=True)
class Point:
    """One row: GMACs, delta_m, millions of parameters (None where nobody counted them)."""

    name: str
    method: str
    baseline: bool
    macs: float
    delta_m: float
    parameters: float | None


def charts(results: Results) -> list[Chart]:
    """One chart, if a candidate has both numbers."""
    points = prepare(results)
    if all(point.baseline for point in points):
        return []
    return [Chart("cost", "Accuracy against cost", _CAPTION, partial(draw, points))]


def prepare(results: Results) -> list[Point]:
    """Candidates and baseline that have delta_m and GMACs; the reference is no network worth its cost."""
    table = tabulate(results)
    places = {column.name: i for i, column in enumerate(table.columns)}
    if not {"delta_m", "macs"} <= places.keys():
        return []
    points = []
    for line in table.lines:
        gain = line.entries[places["delta_m"]].mean
        macs = line.entries[places["macs"]].mean
        parameters = line.entries[places["parameters"]].mean if "parameters" in places else None
        if line.role != "reference" and gain is not None and macs:
            method = line.entries[places["method"]].value
            points.append(Point(table.name(line), method, line.role == "baseline", macs, gain, parameters))
    return points


def draw(points: list[Point]) -> Figure:
    """Points at the left, their names in a column at the right, joined by thin lines."""
    height = max(2.4, 0.8 + _LINE * len(points))
    figure = Figure(figsize=(PAGE * 0.85, height), layout="constrained")
    axes = figure.subplots()
    palette = colours(point.method for point in points)
    largest = max((point.parameters or 0 for point in points), default=0) or 1
    for point in points:
        area = 12 + 140 * (point.parameters or 0) / largest
        colour = palette[point.method]
        face = "white" if point.baseline else colour
        axes.scatter(point.macs, point.delta_m, s=area, color=face, edgecolor=colour, alpha=0.85, zorder=3)
    axes.axhline(0, color=GREY, linewidth=0.8, linestyle=(0, (4, 2)))
    axes.set(xlabel="GMACs", ylabel="Δm (%)")
    axes.margins(x=0.12, y=0.12)
    axes.grid()
    axes.set_axisbelow(True)
    _name_points(axes, points, palette, spacing=_LINE / (height - 0.5))
    return figure


def _name_points(axes: Axes, points: list[Point], palette: dict[str, str], *, spacing: float) -> None:
    """Names as near to their points' heights as they can stand without hiding each other."""
    ordered = sorted(points, key=lambda point: (point.delta_m, -point.macs))
    low, high = axes.get_ylim()
    places = spread([(point.delta_m - low) / (high - low) for point in ordered], spacing)
    for point, place in zip(ordered, places, strict=True):
        size = "" if point.parameters is None else f" ({point.parameters:.1f} M)"
        axes.annotate(
            short(point.name, 40, lines=1) + size,
            xy=(point.macs, point.delta_m),
            xytext=(1.06, place),
            textcoords="axes fraction",
            va="center",
            fontsize=7,
            color=INK,
            arrowprops={
                "arrowstyle": "-",
                "color": palette[point.method],
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
