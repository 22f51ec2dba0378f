"""How balancers weight the tasks over training."""

from __future__ import annotations

from functools import partial

from matplotlib.figure import Figure

from mtlbench.results import Results

from . import curves
from .chart import Chart

_CAPTION = (
    f"Weight of each task's loss or gradient, averaged over {curves.BINS} stretches of training; lines are "
    "means over seeds, shading reaches from the lowest to the highest seed. Rows whose balancer has no "
    "weights are left out."
)


def charts(results: Results) -> list[Chart]:
    """One chart, if any balancer has weights."""
    panels = curves.prepare(results, "weight")
    return [Chart("weights", "Task weights", _CAPTION, partial(draw, panels))] if panels else []


def draw(panels: curves.Panels) -> Figure:
    return curves.draw(panels, "task weight")
