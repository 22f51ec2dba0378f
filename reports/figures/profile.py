"""What each row gains or loses in each task: lines over the tasks, relative to the single-task baseline."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mtlbench.entries import DASH
from mtlbench.results import Results
from mtlbench.statistics.groups import DELTA_M, groups, measures
from mtlbench.table import tabulate

from .chart import Chart
from .leading import leading
from .row_styles import RowStyle, legend_keys, row_styles, told_apart
from .style import COLUMN, INK, LIGHT, legend, short

_ROWS = 24
_NAMED = 8
"""Rows that can be told apart by name; with a colour a method and a shape a balancer it is more."""
_CAPTION = (
    "Gain of each row over its single-task baseline (0) in each task's metric, in percent, higher is better: "
    "the mean over seeds, each against the baseline's network of the same seed. Δm is the mean of the tasks. "
    "Lines join what belongs together; the order of the tasks has no meaning."
)


@dataclass(frozen=True)
class Profiles:
    """Tasks (with the heading of their metric), and rows with their gains in percent (NaN: there is none).

    Attributes:
        others: gains of rows that have no room for a name.
    """

    tasks: tuple[str, ...]
    shown: dict[int, tuple[float, ...]]
    others: tuple[tuple[float, ...], ...]


def charts(results: Results) -> list[Chart]:
    """One chart, if there are two tasks and a baseline."""
    found, note = prepare(results)
    if not found.shown or len(found.tasks) < 2:
        return []
    text = f"{_CAPTION} {note.replace('are shown', 'have colours')}".strip()
    return [Chart("profile", "Gain by task", text, partial(_draw, results, found))]


def prepare(results: Results) -> tuple[Profiles, str]:
    """Candidates that have a gain in any task that they trained, and a note where too many do."""
    tasks = {task.name: task for task in results.tasks}
    found = {measure.name: measure for measure in measures(results) if measure.name != DELTA_M}
    gains: dict[int, tuple[float, ...]] = {}
    for group in groups(results):
        if group.baseline < 0:
            continue
        by_task = []
        for measure in found.values():
            own, (base,) = measure.of(group.candidates), measure.of((group.baseline,))
            with np.errstate(divide="ignore", invalid="ignore"):
                by_task.append([_mean(values) for values in 100 * measure.sign * (own - base) / base])
        if by_task:
            gains |= dict(zip(group.candidates, zip(*by_task, strict=True), strict=True))
    table = tabulate(results)
    known = [row for row in table.names() if row in gains and np.isfinite(gains[row]).any()]
    chosen, note = leading(results, known, _ROWS if told_apart(table, known) else _NAMED)
    return Profiles(
        tuple(f"{name}\n{tasks[name].heading}" for name in found),
        {row: gains[row] for row in chosen},
        tuple(gains[row] for row in known if row not in chosen),
    ), note


def _mean(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else float("nan")


def _draw(results: Results, found: Profiles) -> Figure:
    rows = list(found.shown)
    return draw(found, row_styles(tabulate(results), rows, rows))


def draw(found: Profiles, styles: dict[int, RowStyle]) -> Figure:
    """A line a row over the tasks; rows without room in pale grey."""
    handles = [
        Line2D([], [], linestyle="", label=short(name or DASH, 30), **options)
        for name, options in legend_keys(styles.values()).items()
    ]
    key = legend(handles, COLUMN)
    figure = Figure(figsize=(COLUMN, 2.0 + key.height), layout="constrained")
    axes = figure.subplots()
    x = range(len(found.tasks))
    if found.others:  # as one line with gaps: a thousand take seconds
        gaps = [(*gains, math.nan) for gains in found.others]
        axes.plot([*x, math.nan] * len(gaps), np.concatenate(gaps), color=LIGHT, linewidth=0.7, zorder=1)
    for row, gains in found.shown.items():
        axes.plot(x, gains, linestyle=styles[row].dashes, zorder=3, **styles[row].marker_options)
    axes.axhline(0, color=INK, linewidth=0.8, zorder=2)
    for at in x:
        axes.axvline(at, color=LIGHT, linewidth=0.6, zorder=0)
    axes.set_xticks(x, found.tasks)
    axes.set(ylabel="gain (%)", xlim=(-0.2, len(x) - 0.8))
    axes.tick_params(axis="x", length=0)
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    key.draw(figure)
    return figure
