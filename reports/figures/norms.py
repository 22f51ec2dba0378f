"""How large task gradients are over training."""

from __future__ import annotations

from functools import partial

from matplotlib.figure import Figure

from mtlbench.results import Results

from . import curves
from .chart import Chart

_CAPTION = (
    f"Euclidean norm of each task's gradient where the row's balancer takes it, {curves.SHADING}. Norms at "
    "different places don't compare."
)


def charts(results: Results) -> list[Chart]:
    """One chart, if any row recorded norms."""
    gradients, note = curves.few(results, results.gradients)
    panels = curves.prepare(results, "norm", gradients)
    return [Chart("norms", "Gradient norms", _CAPTION + note, partial(draw, panels))] if panels else []


def draw(panels: curves.Panels) -> Figure:
    return curves.draw(panels, "gradient norm")
