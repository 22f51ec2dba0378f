"""The value of trials over each tuned parameter."""

from __future__ import annotations

from functools import partial
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

from .chart import Chart
from .studies_history import DEFAULT
from .studies_trials import Parameter, Trials
from .style import COLUMN, INK, PAGE, legend, short

FEWEST = 3
DARKENING = ListedColormap(mpl.colormaps["viridis_r"](np.linspace(0.12, 1, 256)), name="darkening")
"""Without the end that can't be seen on white."""
RING: dict[str, Any] = {
    "marker": "o",
    "markersize": 7,
    "linestyle": "",
    "markerfacecolor": "none",
    "markeredgecolor": INK,
}
_PANELS = 4  # on a line
_CAPTION = (
    "Each dot is a trial: its value over the parameter, the darker the later. The ring is the best one. All "
    "parameters change at the same time, so a trend in one panel may belong to another parameter."
)


def charts(trials: Trials, name: str) -> list[Chart]:
    """A chart for each objective of a study."""
    shown = [parameter for parameter in trials.parameters if parameter.varies]
    if len(trials.numbers) < FEWEST or not shown:
        return []
    found = []
    for place, goal in enumerate(trials.goals):
        several = len(trials.goals) > 1
        file = f"{name}_slices_{place + 1}" if several else f"{name}_slices"
        title = f"{goal.name} over parameters: {trials.title}" if several else f"Parameters: {trials.title}"
        found.append(Chart(file, title, _CAPTION, partial(draw, trials, shown, place)))
    return found


def draw(trials: Trials, shown: list[Parameter], goal: int) -> Figure:
    """Up to four panels a line, with one scale of values."""
    columns = min(_PANELS, len(shown))
    lines = -(-len(shown) // columns)
    width = {1: COLUMN * 0.7, 2: COLUMN, 3: PAGE * 0.75}.get(columns, PAGE)
    ring = Line2D([], [], label="best", **RING)
    default = [Line2D([], [], label="default", **DEFAULT)] if trials.default is not None else []
    key = legend([*default, ring], width)
    figure = Figure(figsize=(width, 0.2 + 1.75 * lines + key.height), layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False, sharey=True)
    for panel, parameter in zip(axes.flat, shown, strict=False):
        dots = _panel(panel, trials, parameter, goal)
    for panel in axes.flat[len(shown) :]:
        panel.set_axis_off()
    for panel in axes[:, 0]:
        panel.set_ylabel(short(trials.goals[goal].label, 24))
    if columns > 1:
        bar = figure.colorbar(dots, ax=axes, pad=0.02, aspect=20 * lines, fraction=0.05)
        bar.set_label("trial")
        bar.outline.set_visible(False)
        bar.locator = MaxNLocator(nbins=4, integer=True)
    key.draw(figure)
    return figure


def _panel(axes: Axes, trials: Trials, parameter: Parameter, goal: int) -> PathCollection:
    values = trials.values[:, goal]
    dots = axes.scatter(parameter.values, values, s=11, c=trials.numbers, cmap=DARKENING, zorder=2)
    if trials.default is not None:
        axes.plot(parameter.values[0], values[0], zorder=3, **DEFAULT)
    best = trials.best(goal)
    axes.plot(parameter.values[best], values[best], zorder=4, **RING)
    scale_axis(axes, parameter)
    axes.set_xlabel(short(parameter.name, 22))
    axes.grid()
    axes.set_axisbelow(True)
    return dots


def scale_axis(axes: Axes, parameter: Parameter) -> None:
    """The x axis of a parameter: its choices, or a logarithmic axis where it was drawn so."""
    if parameter.choices:
        axes.set_xticks(range(len(parameter.choices)), [short(c, 8) for c in parameter.choices])
        axes.set_xlim(-0.5, len(parameter.choices) - 0.5)
    elif parameter.log:
        axes.set_xscale("log")
        decades = np.log10(parameter.values.max() / parameter.values.min())
        subs = (1.0, 2.0, 5.0) if decades < 1.3 else (1.0, 3.0) if decades < 2 else (1.0,)
        axes.xaxis.set_major_locator(LogLocator(subs=subs, numticks=5))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        axes.xaxis.set_major_locator(MaxNLocator(nbins=4))
