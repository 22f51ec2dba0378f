"""Accuracy against cost: delta_m over multiply-accumulates, the area of a point its parameters."""

from __future__ import annotations

from functools import partial

from matplotlib.figure import Figure

from mtlbench.results import Results
from mtlbench.table import tabulate

from . import points
from .chart import Chart
from .points import Point

_CAPTION = (
    "Δm (percent, mean over seeds) against multiply-accumulates of one image; the area of a point is "
    "proportional to the parameters, which stand behind its name in millions. Up and to the left is better."
)


def charts(results: Results) -> list[Chart]:
    """One chart, if a candidate has both numbers."""
    found = prepare(results)
    if all(point.hollow for point in found):
        return []
    return [Chart("cost", "Accuracy against cost", _CAPTION, partial(draw, found))]


def prepare(results: Results) -> list[Point]:
    """Candidates and baseline that have delta_m and GMACs; the reference is no network worth its cost."""
    table = tabulate(results)
    places = {column.name: i for i, column in enumerate(table.columns)}
    if not {"delta_m", "macs"} <= places.keys():
        return []
    found = []
    for line in table.lines:
        gain = line.entries[places["delta_m"]].mean
        macs = line.entries[places["macs"]].mean
        millions = line.entries[places["parameters"]].mean if "parameters" in places else None
        if line.role != "reference" and gain is not None and macs:
            method = line.entries[places["method"]].value
            note = "" if millions is None else f"{millions:.1f} M"
            found.append(
                Point(table.name(line), method, macs, gain, millions, note, hollow=line.role == "baseline")
            )
    return found


def draw(found: list[Point]) -> Figure:
    return points.draw(found, "GMACs", "Δm (%)")
