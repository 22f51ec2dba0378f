"""Curves over training: a panel a task (or another quantity), a line a row, all drawn alike."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import (
    LogLocator,
    NullFormatter,
    NullLocator,
    StrMethodFormatter,
    SymmetricalLogLocator,
)

from mtlbench.results import Results
from mtlbench.table import tabulate

from .leading import leading
from .style import PAGE, legend, line_style, short

BINS = 40
SHADED = 6  # curves whose shades can be told apart
SHADING = (
    f"averaged over {BINS} stretches of training; lines are means over seeds, shading (of up to {SHADED} "
    "rows) reaches from the lowest to the highest seed"
)
ROWS = 14
"""Curves of one panel that can be told apart: with two kinds of dashes."""
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


def prepare(results: Results, value: str, frame: pd.DataFrame | None = None) -> Panels:
    """Task -> curves of a column of `frame`, or of the losses; only what has finite values."""
    frame = results.losses if frame is None else frame
    panels = {task.name: of_rows(results, frame[frame["task"] == task.name], value) for task in results.tasks}
    return {task: curves for task, curves in panels.items() if curves}


def few(results: Results, frame: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The lines of the leading rows, and the sentence that says so behind a caption, empty where all are."""
    held = set(frame["row"])
    chosen, note = leading(results, [row for row in tabulate(results).names() if row in held], ROWS)
    return (frame[frame["row"].isin(chosen)], f" {note}") if note else (frame, "")


def of_rows(results: Results, frame: pd.DataFrame, value: str) -> list[Curve]:
    """A curve for each row that has finite values in a column, in the order of the table.

    Means over equal stretches of training tame the noise of single steps; few steps stay as they are.
    """
    finite = frame[np.isfinite(frame[value].to_numpy(dtype=float))]
    steps = finite.groupby("row")["step"]
    last = steps.transform("max")
    stretch = np.ceil(finite["step"] * BINS / last.clip(lower=1)) * last / BINS
    edge = finite["step"].where(steps.transform("nunique") <= BINS, stretch)
    binned = finite.groupby(["row", "seed", edge])[value].mean().unstack("seed")
    names = {row: (place, name) for place, (row, name) in enumerate(tabulate(results).names().items())}
    curves = [_curve(*names[row], of_row) for row, of_row in binned.groupby(level="row") if row in names]
    return sorted(curves, key=lambda curve: curve.place)


def columns_for(panels: int) -> int:
    """How many of them stand side by side."""
    return 3 if panels in (5, 6) else min(4, panels)


def draw(panels: Panels, ylabel: str) -> Figure:
    """Up to four panels a line; the legend stands where the last line lacks a panel, else under all."""
    columns = columns_for(len(panels))
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
        draw_panel(panel, task, curves)
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


def draw_panel(axes: Axes, title: str, curves: list[Curve]) -> None:
    """Lines and, where there are few of them, shading."""
    for curve in curves:
        axes.plot(curve.step, curve.mean, **line_style(curve.place))
        if len(curves) <= SHADED and (curve.high > curve.low).any():
            shade = line_style(curve.place)["color"]
            axes.fill_between(curve.step, curve.low, curve.high, color=shade, alpha=0.12, linewidth=0)
    _scale(axes, np.concatenate([curve.mean for curve in curves]))
    axes.set_title(title)
    axes.grid()
    axes.locator_params(axis="x", nbins=4)


def _scale(axes: Axes, values: np.ndarray) -> None:
    """Logarithmic where values differ much; linear around zero where some are zero or negative."""
    sizes = np.abs(values[values != 0])
    if not sizes.size:
        return
    if values.min() > 0:
        decades = math.log10(values.max() / values.min())
        if decades <= math.log10(4):
            return
        axes.set_yscale("log")
        subs = (1.0, 2.0, 5.0) if decades < 1.7 else (1.0, 3.0) if decades < 3 else (1.0,)
        axes.yaxis.set_major_locator(LogLocator(subs=subs, numticks=9))
    else:
        if sizes.max() <= 10 * np.median(sizes):
            return
        linear = 10.0 ** round(math.log10(np.median(sizes)))
        axes.set_yscale("symlog", linthresh=linear, linscale=0.6)
        locator = SymmetricalLogLocator(base=10, linthresh=linear)
        locator.numticks = 9
        axes.yaxis.set_major_locator(locator)
        axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _curve(place: int, name: str, binned: pd.DataFrame) -> Curve:
    """From lines of (row, step) with a column a seed, NaN where it has no value."""
    values = binned.to_numpy()[:, binned.notna().any().to_numpy()]
    return Curve(
        place,
        name,
        binned.index.get_level_values("step").to_numpy(),
        np.nanmean(values, axis=1),
        np.nanmin(values, axis=1),
        np.nanmax(values, axis=1),
    )
