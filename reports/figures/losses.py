"""Loss curves of each task."""

from __future__ import annotations

from functools import partial

from matplotlib.figure import Figure

from mtlbench.results import Results

from . import curves
from .chart import Chart

_CAPTION = f"Training loss of each task, unweighted, {curves.SHADING}."


def charts(results: Results) -> list[Chart]:
    """One chart, if any row has a history."""
    losses, note = curves.few(results, results.losses)
    panels = curves.prepare(results, "loss", losses)
    return [Chart("losses", "Training losses", _CAPTION + note, partial(draw, panels))] if panels else []


def draw(panels: curves.Panels) -> Figure:
    return curves.draw(panels, "training loss")
