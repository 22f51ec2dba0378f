"""Trade-offs between tasks: the scores of all trials, and those that no other trial beats in every task."""

from __future__ import annotations

from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mtlbench.results import Results

from .chart import Chart
from .front import front
from .studies_history import DEFAULT
from .studies_trials import Goal, Trials, goals_of
from .style import COLUMN, GREY, PAGE, PALETTE, legend, short

FEWEST = 3
_OTHER: dict[str, Any] = {"marker": "o", "markersize": 3, "linestyle": "", "color": GREY, "alpha": 0.7}
_FRONT: dict[str, Any] = {"marker": "o", "markersize": 4, "linestyle": "", "color": PALETTE[0]}
_CAPTION = (
    "Scores of all trials on held-out images, axes turned so that better is up and to the right. Blue: no "
    "other trial is at least as good in every task; the line joins those that are so in the two tasks of the "
    "panel."
)


def charts(trials: Trials, name: str, results: Results) -> list[Chart]:
    """One chart of a study with scores of several tasks."""
    complete = [t for t in trials.study.trials if t.number in set(trials.numbers.tolist()) and t.scores]
    tasks = [task for task in results.tasks if all(task.name in trial.scores for trial in complete)]
    if len(tasks) < 2 or len(complete) < FEWEST:
        return []
    goals = goals_of([task.name for task in tasks], tasks)
    scores = np.array([[trial.scores[goal.name] * goal.scale for goal in goals] for trial in complete])
    if not np.isfinite(scores).all():
        return []
    default = 0 if complete[0].number == 0 else None
    make = partial(draw, goals, scores, default)
    return [Chart(f"{name}_front", f"Trade-offs: {trials.title}", _CAPTION, make)]


def unbeaten(gains: np.ndarray) -> list[int]:
    """Of points (N, T) of which more is better in all: those that no other one dominates."""
    return [
        i
        for i, point in enumerate(gains)
        if not ((gains >= point).all(axis=1) & (gains > point).any(axis=1)).any()
    ]


def draw(goals: tuple[Goal, ...], scores: np.ndarray, default: int | None) -> Figure:
    """A panel for each pair of tasks."""
    pairs = list(combinations(range(len(goals)), 2))
    columns = min(3, len(pairs))
    lines = -(-len(pairs) // columns)
    width = COLUMN if columns == 1 else PAGE
    handles = {"trial": _OTHER, "on the front": _FRONT, **({} if default is None else {"default": DEFAULT})}
    key = legend([Line2D([], [], label=n, **options) for n, options in handles.items()], width)
    figure = Figure(figsize=(width, 0.2 + 2.1 * lines + key.height), layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False)
    gains = scores * [goal.sign for goal in goals]
    best = unbeaten(gains)
    for panel, (x, y) in zip(axes.flat, pairs, strict=False):
        _panel(panel, scores[:, [x, y]], gains[:, [x, y]], best, default)
        for goal, axis, turn in (
            (goals[x], panel.xaxis, panel.invert_xaxis),
            (goals[y], panel.yaxis, panel.invert_yaxis),
        ):
            axis.set_label_text(short(goal.label, 30))
            if goal.sign < 0:
                turn()
    for panel in axes.flat[len(pairs) :]:
        panel.set_axis_off()
    key.draw(figure)
    return figure


def _panel(axes: Axes, scores: np.ndarray, gains: np.ndarray, best: list[int], default: int | None) -> None:
    line = front([(-x, y) for x, y in gains])
    axes.plot(*scores.T, **_OTHER)
    axes.plot(*scores[line].T, color=PALETTE[0], linewidth=0.9)
    axes.plot(*scores[best].T, **_FRONT)
    if default is not None:
        axes.plot(*scores[default], **DEFAULT)
    axes.grid()
    axes.set_axisbelow(True)
    axes.locator_params(nbins=5)
