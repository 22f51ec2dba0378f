"""Curves over training: a panel a task, a line a row; losses and weights are drawn alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from mtlbench.results import Results
from mtlbench.table import tabulate

from .style import PAGE, legend, line_style, short

BINS = 40
_LEGEND_LINES = 9  # that fit into a panel


@dataclass(frozen=True)
class Curve:
    """One row's values over training, binned: mean over seeds, and the lowest and highest seed."""

    place: int  # of the row in the table
    name: str
    step: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


Panels = dict[str, list[Curve]]


def prepare(results: Results, value: str) -> Panels:
    """Task -> curves of column `value` of the losses; only tasks and rows that have finite values."""
    losses = results.losses[np.isfinite(results.losses[value].to_numpy(dtype=float))]
    names = tabulate(results).names()
    panels: Panels = {}
    for task in results.tasks:
        of_task = losses[losses["task"] == task.name]
        curves = [
            _curve(place, name, of_task[of_task["row"] == row], value)
            for place, (row, name) in enumerate(names.items())
            if (of_task["row"] == row).any()
        ]
        if curves:
            panels[task.name] = curves
    return panels


def draw(panels: Panels, ylabel: str) -> Figure:
    """Up to four panels a line; the legend stands where the last line lacks a panel, else under all."""
    columns = 3 if len(panels) in (5, 6) else min(4, len(panels))
    lines = -(-len(panels) // columns)
    names = {curve.place: curve.name for curves in panels.values() for curve in curves}
    width = PAGE if columns > 2 else PAGE * 0.7
    labels = {place: short(names[place], 24) for place in sorted(names)}
    height = sum(label.count("\n") + 1 for label in labels.values())
    inside = lines > 1 and len(panels) < lines * columns and height <= _LEGEND_LINES
    if not inside:
        labels = {place: short(names[place], 34) for place in labels}
    key = legend([Line2D([], [], label=label, **line_style(place)) for place, label in labels.items()], width)
    figure = Figure(figsize=(width, 1.75 * lines + 0.2 + (0 if inside else key.height)), layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False)
    for panel, (task, curves) in zip(axes.flat, panels.items(), strict=False):
        _panel(panel, task, curves)
    for panel in axes.flat[len(panels) :]:
        panel.set_axis_off()
    for panel in axes[:, 0]:
        panel.set_ylabel(ylabel)
    for panel in axes.flat[: len(panels)][-columns:]:
        panel.set_xlabel("step")
    if inside:
        axes.flat[len(panels)].legend(handles=key.handles, loc="center left", handlelength=2.2)
    else:
        key.draw(figure)
    return figure


def _panel(axes: Axes, task: str, curves: list[Curve]) -> None:
    for curve in curves:
        axes.plot(curve.step, curve.mean, **line_style(curve.place))
        if (curve.high > curve.low).any():
            shade = line_style(curve.place)["color"]
            axes.fill_between(curve.step, curve.low, curve.high, color=shade, alpha=0.12, linewidth=0)
    values = np.concatenate([curve.mean for curve in curves])
    if values.min() > 0 and values.max() > 4 * values.min():
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_title(task)
    axes.grid()
    axes.locator_params(axis="x", nbins=4)


def _curve(place: int, name: str, frame: pd.DataFrame, value: str) -> Curve:
    """Means over equal stretches of training tame the noise of single steps."""
    last = frame["step"].max()
    edge = np.ceil(frame["step"] * BINS / max(last, 1)) * last / BINS
    binned = frame.groupby(["seed", edge])[value].mean().unstack("seed")
    return Curve(
        place,
        name,
        binned.index.to_numpy(),
        binned.mean(axis=1).to_numpy(),
        binned.min(axis=1).to_numpy(),
        binned.max(axis=1).to_numpy(),
    )
