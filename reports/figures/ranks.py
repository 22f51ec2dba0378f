"""Mean ranks over problems with Nemenyi's critical difference, after Demšar (JMLR 2006)."""

from __future__ import annotations

from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mtlbench.results import Results
from mtlbench.statistics.ranking import LEVEL, Ranks, ranks
from mtlbench.statistics.words import p_text

from .chart import Chart
from .style import COLUMN, GREY, INK, PALETTE, short

MOST = 24
"""Competitors that are drawn, best first."""
_LINE = 0.17  # inches a competitor


def charts(results: Results) -> list[Chart]:
    """One chart, if enough competitors have scores in enough problems."""
    found = ranks(results)
    return [] if found is None else [Chart("ranks", "Mean ranks", caption(found), partial(draw, found))]


def caption(found: Ranks) -> str:
    """What is drawn, and what it does not prove."""
    count, shown = len(found.frame), min(len(found.frame), MOST)
    said = [
        f"Mean rank over {len(found.problems)} problems (a task of a data set and backbone each), 1 is best"
        + (f"; the first {shown} of {count} are drawn." if shown < count else "."),
        _bars(found),
    ]
    if found.seeds > 1:
        said.append(f"Whiskers are 95 % intervals over {found.seeds} seeds.")
    said.append("The tasks of one network are not independent problems: both tests claim too much certainty.")
    if found.left_out:
        said.append(f"{len(found.left_out)} left out for lack of scores.")
    return " ".join(said)


def _bars(found: Ranks) -> str:
    """What the bars at the right join, and why."""
    if found.p is None:
        return "All scores are ties."
    friedman = f"Friedman's test ({p_text(found.p)})"
    if found.p >= LEVEL:
        return f"{friedman} tells none apart: the bar at the right joins them all (CD {found.critical:.2f})."
    return (
        f"{friedman} says that they differ; bars at the right join those that Nemenyi's test at "
        f"{100 * LEVEL:g} % doesn't tell apart (critical difference CD {found.critical:.2f})."
    )


def draw(found: Ranks) -> Figure:
    """A line for each competitor, best on top; bars at the right join those that are not told apart."""
    frame = found.frame.head(MOST)
    groups = [(a, min(b, MOST - 1)) for a, b in found.alike if a < MOST - 1]
    figure = Figure(figsize=(COLUMN, 0.75 + _LINE * len(frame)), layout="constrained")
    axes = figure.subplots()
    y = np.arange(len(frame))
    axes.hlines(y, frame["low"], frame["high"], color=GREY, linewidth=1.0)
    axes.scatter(frame["rank"], y, s=16, color=PALETTE[0], zorder=3)
    axes.set_yticks(y, [short(name, 30, lines=1) for name in frame["name"]])
    axes.tick_params(axis="y", length=0)
    axes.set(xlabel="mean rank (1 is best)", ylim=(len(frame) - 0.4, -1.5))
    axes.grid(axis="x")
    axes.set_axisbelow(True)
    _critical(axes, found.critical)
    for i, (first, last) in enumerate(groups):
        axes.plot(
            [1.03 + 0.025 * i] * 2,
            [first - 0.25, last + 0.25],
            color=INK,
            linewidth=2.2,
            solid_capstyle="butt",
            transform=axes.get_yaxis_transform(),
            clip_on=False,
        )
    return figure


def _critical(axes: Axes, width: float) -> None:
    """The critical difference as a bar on the scale of the ranks, as far as it fits."""
    left, right = axes.get_xlim()
    if width > right - left:
        axes.set_xlim(left, left + 1.05 * width)
    axes.plot([left, left + width], [-1, -1], color=INK, linewidth=1.4, marker="|", markersize=5)
    axes.text(left + width / 2, -1.1, "CD", ha="center", va="bottom", fontsize=7, color=INK)
