"""How studies went: the value of each trial in the order of trials, and the best so far."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from .chart import Chart
from .studies_trials import Trials, last_step
from .style import COLUMN, INK, PAGE, PALETTE, legend, short

TRIAL: dict[str, Any] = {"marker": "o", "markersize": 3.2, "linestyle": "", "color": PALETTE[0]}
PRUNED: dict[str, Any] = TRIAL | {"markerfacecolor": "white", "markeredgewidth": 0.8}
FAILED: dict[str, Any] = {"marker": "x", "markersize": 3.5, "linestyle": "", "color": PALETTE[5]}
DEFAULT: dict[str, Any] = {"marker": "D", "markersize": 4.5, "linestyle": "", "color": PALETTE[1]}
BEST: dict[str, Any] = {"color": INK, "linewidth": 1.0}
_FEWEST = 2
_CAPTION = (
    "The value of each trial ({goal}), and the best value so far. The dashed line is the trial with the "
    "untuned values. Hollow: trials that were ended early, at their last value; crosses: trials that failed. "
    "The best of many trials on held-out images is larger than what it brings on new images."
)


def charts(studies: Sequence[Trials]) -> list[Chart]:
    """One chart of all studies with one objective, a panel each."""
    shown = [trials for trials in studies if len(trials.goals) == 1 and len(trials.numbers) >= _FEWEST]
    if not shown:
        return []
    caption = _CAPTION.format(goal=shown[0].goals[0].label)
    return [Chart("study_history", "Trials of studies", caption, partial(draw, shown))]


def draw(studies: Sequence[Trials]) -> Figure:
    """Up to three panels a line, with one scale of values."""
    columns = min(3, len(studies))
    lines = -(-len(studies) // columns)
    width = COLUMN if columns == 1 else PAGE
    key = legend(_handles(studies), width)
    figure = Figure(figsize=(width, 0.3 + 1.75 * lines + key.height), layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False, sharey=True)
    for panel, trials in zip(axes.flat, studies, strict=False):
        _panel(panel, trials)
        panel.set_title(short(trials.title, 30 if columns > 1 else 50))
    for panel in axes.flat[len(studies) :]:
        panel.set_axis_off()
    for panel in axes[:, 0]:
        panel.set_ylabel(short(studies[0].goals[0].label, 24))
    for panel in axes.flat[max(0, len(studies) - columns) : len(studies)]:
        panel.set_xlabel("trial")
    key.draw(figure)
    return figure


def _panel(axes: Axes, trials: Trials) -> None:
    values = trials.values[:, 0]
    axes.plot(trials.numbers, values, **TRIAL)
    pruned = [(t.number, last_step(t)) for t in trials.study.trials if t.state == "pruned"]
    reached = [(number, value) for number, value in pruned if value is not None]
    if reached:
        axes.plot(*zip(*reached, strict=True), **PRUNED)
    best = np.maximum.accumulate(values * trials.goals[0].sign) * trials.goals[0].sign
    axes.step(trials.numbers, best, where="post", **BEST)
    if trials.default is not None:
        axes.axhline(values[0], color=PALETTE[1], linewidth=0.8, linestyle=(0, (4, 2)))
        axes.plot([0], [values[0]], **DEFAULT)
    failed = [trial.number for trial in trials.study.trials if trial.state == "failed"]
    axes.plot(failed, [0.03] * len(failed), transform=axes.get_xaxis_transform(), **FAILED)
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))


def _handles(studies: Sequence[Trials]) -> list[Line2D]:
    """Of what is there."""
    states = {trial.state for trials in studies for trial in trials.study.trials}
    named = {
        "trial": TRIAL,
        "best so far": BEST,
        **({"default": DEFAULT} if any(trials.default is not None for trials in studies) else {}),
        **({"pruned": PRUNED} if "pruned" in states else {}),
        **({"failed": FAILED} if "failed" in states else {}),
    }
    return [Line2D([], [], label=name, **options) for name, options in named.items()]
