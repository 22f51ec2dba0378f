"""How balancers weight the tasks over training."""

from __future__ import annotations

from functools import partial

import pandas as pd
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
    losses, note = curves.few(results, changing(results))
    panels = curves.prepare(results, "weight", losses)
    return [Chart("weights", "Task weights", _CAPTION + note, partial(draw, panels))] if panels else []


def changing(results: Results) -> pd.DataFrame:
    """`Results.losses` without flat lines, which lie on each other and say what the balancer's name says."""
    losses = results.losses
    values = losses.groupby(["row", "seed", "task"])["weight"].nunique()
    return losses[losses["row"].isin(values[values > 1].index.unique("row"))]


def draw(panels: curves.Panels) -> Figure:
    return curves.draw(panels, "task weight")
