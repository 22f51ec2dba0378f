"""How balancers weight the tasks over training."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from matplotlib.figure import Figure

from mtlbench.results import Results

from . import curves
from .chart import Chart

_CAPTION = (
    f"Weight of each task's loss or gradient, {curves.SHADING}. Rows whose weights never change are left "
    "out. Axes are logarithmic where weights differ much; around zero they are linear where some weights "
    "are zero or negative."
)


def charts(results: Results) -> list[Chart]:
    """One chart, if the weights of any row change."""
    panels = prepare(results)
    return [Chart("weights", "Task weights", _CAPTION, partial(draw, panels))] if panels else []


def prepare(results: Results) -> curves.Panels:
    """Flat lines lie on each other and say what the balancer's name says: they are left out."""
    losses = results.losses
    values = losses.groupby(["row", "seed", "task"])["weight"].nunique()
    changing = values[values > 1].index.unique("row")
    return curves.prepare(replace(results, losses=losses[losses["row"].isin(changing)]), "weight")


def draw(panels: curves.Panels) -> Figure:
    return curves.draw(panels, "task weight")
