"""Trials as lines through all tuned parameters and the value."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mtlbench.entries import MINUS

from .chart import Chart
from .studies_slices import DARKENING, FEWEST
from .studies_trials import Goal, Parameter, Trials
from .style import COLUMN, GREY, INK, PAGE, PALETTE, legend, short

_AXIS = 0.95  # inches between axes
_CAPTION = (
    "Each line is a trial: its parameters, and at the right what it came to (better is up, and darker). "
    "Thick: the best trial; dashed: the default values."
)


def charts(trials: Trials, name: str) -> list[Chart]:
    """One chart of a study that tuned several parameters."""
    shown = [parameter for parameter in trials.parameters if parameter.varies]
    if len(trials.numbers) < FEWEST or len(shown) < 2:
        return []
    return [Chart(f"{name}_parallel", f"Trials: {trials.title}", _CAPTION, partial(draw, trials, shown))]


def draw(trials: Trials, shown: Sequence[Parameter]) -> Figure:
    """An axis a parameter and objective; colours go by the first objective."""
    columns = [*(_of_parameter(p) for p in shown), *(_of_goal(trials, i) for i in range(len(trials.goals)))]
    heights = np.array([column[0] for column in columns]).T
    width = min(PAGE, max(COLUMN, _AXIS * len(columns) + 0.4))
    best = trials.best(0)
    marks: dict[str, dict[str, Any]] = {"best": {"color": INK, "linewidth": 1.8}}
    if trials.default is not None:
        marks["default"] = {"color": PALETTE[1], "linewidth": 1.8, "linestyle": (0, (3, 1.5))}
    key = legend([Line2D([], [], label=name, **options) for name, options in marks.items()], width)
    figure = Figure(figsize=(width, 2.2 + key.height), layout="constrained")
    axes = figure.subplots()
    order = np.argsort(heights[:, len(shown)])
    for place in order:
        colour = DARKENING(0.1 + 0.9 * heights[place, len(shown)])
        axes.plot(heights[place], color=colour, linewidth=0.8, alpha=0.8)
    axes.plot(heights[best], zorder=4, **marks["best"])
    if trials.default is not None:
        axes.plot(heights[trials.default], zorder=5, **marks["default"])
    names = [*(p.name for p in shown), *(_short_goal(goal) for goal in trials.goals)]
    _scales(axes, [column[1] for column in columns], names)
    key.draw(figure)
    return figure


Ticks = list[tuple[float, str]]


def _of_parameter(parameter: Parameter) -> tuple[np.ndarray, Ticks]:
    """Heights from 0 to 1, and what stands at some of them."""
    if parameter.choices:
        last = len(parameter.choices) - 1
        ticks = [(i / last, short(choice, 8, lines=1)) for i, choice in enumerate(parameter.choices)]
        return parameter.values / last, ticks
    values = np.log(parameter.values) if parameter.log else parameter.values
    return _between(values, parameter.values)


def _of_goal(trials: Trials, goal: int) -> tuple[np.ndarray, Ticks]:
    values = trials.values[:, goal]
    return _between(values * trials.goals[goal].sign, values)


def _between(values: np.ndarray, shown: np.ndarray) -> tuple[np.ndarray, Ticks]:
    low, high = values.min(), values.max()
    ticks = [(0.0, f"{shown[values.argmin()]:.3g}"), (1.0, f"{shown[values.argmax()]:.3g}")]
    return (values - low) / ((high - low) or 1.0), ticks


def _scales(axes: Axes, ticks: Sequence[Ticks], names: Sequence[str]) -> None:
    for place, of_axis in enumerate(ticks):
        axes.axvline(place, color=GREY, linewidth=0.8, zorder=1)
        for height, text in of_axis:
            inside = 0 < height < 1
            axes.annotate(
                text.replace("-", MINUS),
                (place, height),
                (4, 0) if inside else (0, 3 if height else -3),
                textcoords="offset points",
                ha="left" if inside else "center",
                va="center" if inside else "bottom" if height else "top",
                fontsize=6.5,
                color=INK,
                bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5}
                if inside
                else None,
            )
    axes.set_xticks(range(len(names)), [short(name, 15) for name in names])
    axes.tick_params(axis="x", length=0, pad=10)
    axes.set(yticks=[], ylim=(-0.06, 1.06), xlim=(-0.35, len(names) - 0.65))
    axes.spines[:].set_visible(False)


def _short_goal(goal: Goal) -> str:
    return "Δm (%)" if goal.name == "delta_m" else goal.label
