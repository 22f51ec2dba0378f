"""What balancers cost beside what they bring: delta_m over the balancer's share of a training step."""

from __future__ import annotations

from functools import partial

from matplotlib.figure import Figure

from mtlbench.balancer_table import PLACES, balancers
from mtlbench.results import Results
from mtlbench.table import tabulate

from . import points
from .chart import Chart
from .points import Point

_CAPTION = (
    "Δm (percent, mean over seeds) against the share of a training step that the balancer takes beyond "
    "equal weights, whose milliseconds stand behind the names. Colours tell where task gradients are taken. "
    "Up and to the left is better."
)


def charts(results: Results) -> list[Chart]:
    """One chart, if there are at least two rows to compare, one of which costs something."""
    found = prepare(results)
    if len(found) < 2:
        return []
    return [Chart("balancing", "Accuracy against the balancer's cost", _CAPTION, partial(draw, found))]


def prepare(results: Results) -> list[Point]:
    """The rows of the table of balancers that have both numbers."""
    costs, table = balancers(results), tabulate(results)
    if costs is None or results.delta_m.empty:
        return []
    gains = {line.row: line.entries[table.index("delta_m")].mean for line in table.lines}
    names, found = table.names(), []
    for line in costs.lines:
        share = line.entries[costs.index("share")].mean
        milliseconds = line.entries[costs.index("milliseconds")].value
        gain = gains[line.row]
        if share is not None and gain is not None:
            place = line.entries[costs.index("at")].value
            found.append(Point(names[line.row], place, share, gain, note=f"{milliseconds} ms"))
    order = list(PLACES.values())
    return sorted(found, key=lambda point: order.index(point.kind) if point.kind in order else len(order))


def draw(found: list[Point]) -> Figure:
    return points.draw(found, "balancer's share of a step (%)", "Δm (%)", key=True)
