"""Bars of delta_m: how far each row lies above or below the single-task baseline."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from mtlbench.entries import DASH, Entry
from mtlbench.results import Results, whole_rows
from mtlbench.statistics.delta_m import delta_m_intervals
from mtlbench.table import tabulate, valid_delta_m

from .chart import Chart
from .leading import leading
from .row_styles import candidate_names
from .style import BEYOND, COLUMN, GREY, INK, PALETTE, colours, legend, short

_BAR = 0.16  # inches a bar
_GAP = 0.6  # bars between groups
_ROWS = 30
_ONE_SEED = "One seed: nothing is known about the spread, and differences may be chance."


@dataclass(frozen=True)
class Bar:
    """One row: its group's name, balancer, mean, 95 % interval, the seeds' values, and the text beside it."""

    group: str
    balancer: str
    mean: float | None
    interval: tuple[float, float] | None
    values: tuple[float, ...]
    text: str


def charts(results: Results) -> list[Chart]:
    """One chart, if any candidate has a delta_m."""
    bars, note = prepare(results)
    if not any(bar.mean is not None for bar in bars):
        return []
    text = "Δm over the single-task baseline (0), in percent, higher is better. " + _spread(bars)
    return [Chart("delta_m", "Multi-task gain", f"{text} {note}".strip(), partial(draw, bars))]


def prepare(results: Results) -> tuple[list[Bar], str]:
    """A bar for each candidate that trained all tasks, those of one method together, in the table's order.

    And a note where rows are left out.
    """
    if results.delta_m.empty:
        return [], ""
    table = tabulate(results)
    place = table.index("delta_m")
    valid, whole = valid_delta_m(results), whole_rows(results.rows)
    known = delta_m_intervals(results).dropna()
    intervals = dict(zip(known["row"], zip(known["low"], known["high"], strict=True), strict=True))
    lines = {line.row: line for line in table.lines if line.role == "candidate" and line.row in whole}
    chosen, note = leading(results, list(lines), _ROWS)
    names = candidate_names(table)
    bars = [
        Bar(
            *names[row],
            entry.mean,
            intervals.get(row),
            tuple(valid["delta_m"][valid["row"] == row]),
            _text(entry) if entry.mean is not None else f"{DASH} {lines[row].state}",
        )
        for row in chosen
        for entry in [lines[row].entries[place]]
    ]
    order = list(dict.fromkeys(bar.group for bar in bars))
    return sorted(bars, key=lambda bar: order.index(bar.group)), note


def draw(bars: list[Bar]) -> Figure:
    """Horizontal bars, the first row on top, means at the right.

    Each bar has its balancer's colour; where there are more balancers than colours, its balancer's name.
    """
    groups = [list(members) for _, members in groupby(bars, key=lambda bar: bar.group)]
    palette = colours(bar.balancer for bar in bars)
    named = len(palette) > len(PALETTE)
    if named:
        palette = dict.fromkeys(palette, PALETTE[0])
    patches = [Patch(color=colour, label=short(name or DASH, 30)) for name, colour in palette.items()]
    key = legend([] if named else patches, COLUMN)
    gap = 0.0 if named or len(groups) == len(bars) else _GAP
    height = 0.5 + _BAR * (len(bars) + gap * len(groups)) + key.height
    figure = Figure(figsize=(COLUMN, height), layout="constrained")
    axes = figure.subplots()
    ticks, y = [], 0.0
    for members in groups:
        if not named:
            lines = 1 if len(members) == 1 else 2
            ticks.append((y + (len(members) - 1) / 2, short(members[0].group, 20, lines)))
        for bar in members:
            if named:
                ticks.append((y, short(f"{bar.group} · {bar.balancer}", 26, lines=1)))
            _draw_bar(axes, y, bar, palette[bar.balancer])
            y += 1
        y += gap
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.set(ylim=(y - gap - 0.3, -0.7), xlabel="Δm (%)", xlim=_limits(bars))
    axes.set_yticks([at for at, _ in ticks], [name for _, name in ticks])
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.grid(axis="x")
    axes.set_axisbelow(True)
    key.draw(figure)
    return figure


def _draw_bar(axes: Axes, y: float, bar: Bar, colour: str) -> None:
    if bar.mean is not None:
        axes.barh(y, bar.mean, height=0.8, color=colour, alpha=0.85)
        if bar.interval is not None:
            axes.plot(bar.interval, [y, y], color=INK, linewidth=0.9, marker="|", markersize=3.5)
        if len(bar.values) > 1:
            dots: Any = {"s": 6, "color": "white", "edgecolor": INK, "linewidth": 0.5, "zorder": 3}
            axes.scatter(bar.values, [y] * len(bar.values), **dots)
    axes.text(
        1.02,
        y,
        short(bar.text, 20, lines=1),
        transform=axes.get_yaxis_transform(),
        va="center",
        fontsize=7,
        color=INK if bar.mean is not None else GREY,
    )


def _limits(bars: list[Bar]) -> tuple[float, float]:
    """All seeds, and intervals as far as the seeds' own range: those of two seeds would hide the bars."""
    values = [0.0, *(value for bar in bars for value in bar.values)]
    low, high = min(values), max(values)
    room = high - low or 1.0
    ends = [end for bar in bars for end in bar.interval or ()]
    low, high = min([low, *ends]), max([high, *ends])
    low, high = max(low, min(values) - room), min(high, max(values) + room)
    margin = 0.04 * (high - low)
    return (low - margin if low < 0 else 0.0), (high + margin if high > 0 else 0.0)


def _text(entry: Entry) -> str:
    """The mean alone: its interval is drawn."""
    return replace(entry, spread="").text


def _spread(bars: list[Bar]) -> str:
    if all(bar.interval is None for bar in bars):
        return _ONE_SEED
    low, high = _limits(bars)
    cut = any(bar.interval and (bar.interval[0] < low or bar.interval[1] > high) for bar in bars)
    return (
        "Whiskers are 95 % intervals (Student's t over the seeds, each against the baseline's network of the "
        f"same seed{BEYOND if cut else ''}), dots single seeds. Whether two rows differ is another question: "
        "intervals of rows with one baseline move together."
    )
