"""The figures of a report, each of which is left out where its data are missing."""

from __future__ import annotations

from pathlib import Path

from mtlbench.results import Results

from . import cosines, cost, delta_m, gallery, losses, weights
from .chart import Chart, save

__all__ = ["Chart", "charts", "figures", "save"]

_MODULES = (delta_m, cost, losses, weights, cosines, gallery)


def charts(results: Results) -> list[Chart]:
    """The figures that the results have data for, not yet drawn."""
    return [chart for module in _MODULES for chart in module.charts(results)]


def figures(results: Results, folder: Path) -> list[Path]:
    """Write each figure as PNG and PDF into `folder/figures`."""
    return [path for chart in charts(results) for path in save(chart, folder / "figures", ("png", "pdf"))]
