"""Figures of studies: how they went, what mattered, and each one's trials."""

from __future__ import annotations

from mtlbench.results import Results

from . import studies_front, studies_history, studies_importance, studies_parallel, studies_slices
from .chart import Chart
from .studies_trials import read_trials


def charts(results: Results) -> list[Chart]:
    """What there is enough of for: of all studies together, then of each."""
    studies = read_trials(results)
    found = studies_history.charts(studies) + studies_importance.charts(studies)
    for place, trials in enumerate(studies, start=1):
        name = f"study_{place}" if len(studies) > 1 else "study"
        found += studies_slices.charts(trials, name)
        found += studies_parallel.charts(trials, name)
        found += studies_front.charts(trials, name, results)
    return found
