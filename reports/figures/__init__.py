"""The figures of a report, each of which is left out where its data are missing."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from mtlbench.results import Results

from . import (
    affinity,
    balancing,
    conflicts,
    cosine_matrix,
    cosines,
    cost,
    delta_m,
    errors,
    gallery,
    growth,
    left_out,
    losses,
    norms,
    profile,
    ranks,
    studies,
    validation,
    weights,
)
from .chart import Chart, save

__all__ = ["Chart", "charts", "figures", "save"]

_MODULES = (
    delta_m,
    ranks,
    cost,
    profile,
    growth,
    affinity,
    left_out,
    balancing,
    losses,
    validation,
    weights,
    cosine_matrix,
    cosines,
    conflicts,
    norms,
    studies,
    gallery,
    errors,
)


@lru_cache(maxsize=1)
def charts(results: Results) -> tuple[Chart, ...]:
    """The figures that the results have data for, drawn when first needed.

    The last results' are kept, so that all reports of one grid share each drawing.
    """
    return tuple(chart for module in _MODULES for chart in module.charts(results))


def figures(results: Results, folder: Path) -> list[Path]:
    """Write each figure as PNG and PDF into `folder/figures`."""
    return [path for chart in charts(results) for path in save(chart, folder / "figures", ("png", "pdf"))]
