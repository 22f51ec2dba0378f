"""Bars of delta_m: how far each row lies above or below the single-task baseline."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import groupby

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from mtlbench.entries import DASH
from mtlbench.results import Results
from mtlbench.table import Line, Table, tabulate, valid_delta_m

from .chart import Chart
from .style import GREY, INK, PAGE, PALETTE, colours, legend, short

_WIDTH = PAGE * 0.75
_BAR = 0.2  # inches a bar
_GAP = 0.6  # bars between groups


@dataclass(frozen=True)
class Bar:
    """One row: its group's name, its balancer, mean and spread, the seeds' values, and the text beside it."""

    group: str
    balancer: str
    mean: float | None
    std: float | None
    values: tuple[float, ...]
    text: str


def charts(results: Results) -> list[Chart]:
    """One chart, if any candidate has a delta_m."""
    bars = prepare(results)
    if not any(bar.mean is not None for bar in bars):
        return []
    seeds = "; whiskers are ± one sample standard deviation, dots single seeds" if _several(bars) else ""
    text = f"Δm over the single-task baseline (0), in percent, higher is better{seeds}."
    return [Chart("delta_m", "Multi-task gain", text, partial(draw, bars))]


def prepare(results: Results) -> list[Bar]:
    """A bar for each candidate, those of one method together, in the order of the table."""
    if results.delta_m.empty:
        return []
    table = tabulate(results)
    place = table.index("delta_m")
    valid = valid_delta_m(results)
    bars = []
    for line in table.lines:
        if line.role == "candidate":
            entry = line.entries[place]
            text = entry.text if entry.mean is not None else f"{DASH} {line.state}"
            bars.append(
                Bar(
                    *_names(table, line),
                    entry.mean,
                    entry.std,
                    tuple(valid["delta_m"][valid["row"] == line.row]),
                    text,
                )
            )
    order = list(dict.fromkeys(bar.group for bar in bars))
    return sorted(bars, key=lambda bar: order.index(bar.group))


def draw(bars: list[Bar]) -> Figure:
    """Horizontal bars, the first row on top, numbers at the right.

    Each bar has its balancer's colour; where there are more balancers than colours, its balancer's name.
    """
    groups = [list(members) for _, members in groupby(bars, key=lambda bar: bar.group)]
    palette = colours(bar.balancer for bar in bars)
    named = len(palette) > len(PALETTE)
    if named:
        palette = dict.fromkeys(palette, PALETTE[0])
    patches = [Patch(color=colour, label=short(name, 30)) for name, colour in palette.items()]
    key = legend([] if named else patches, _WIDTH)
    height = 0.5 + _BAR * (len(bars) + _GAP * len(groups)) + key.height
    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    axes = figure.subplots()
    ticks, y = [], 0.0
    for members in groups:
        if not named:
            ticks.append((y + (len(members) - 1) / 2, short(members[0].group, 34)))
        for bar in members:
            if named:
                ticks.append((y, short(f"{bar.group} · {bar.balancer}", 44, lines=1)))
            _draw_bar(axes, y, bar, palette[bar.balancer])
            y += 1
        y += _GAP
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.set(ylim=(y - _GAP - 0.3, -0.7), xlabel="Δm (%)")
    axes.set_yticks([at for at, _ in ticks], [name for _, name in ticks])
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    axes.set_axisbelow(True)
    key.draw(figure)
    return figure


def _draw_bar(axes: Axes, y: float, bar: Bar, colour: str) -> None:
    if bar.mean is not None:
        axes.barh(y, bar.mean, height=0.8, color=colour, alpha=0.85)
        if bar.std is not None:
            axes.errorbar(bar.mean, y, xerr=bar.std, color=INK, capsize=2, linewidth=0.9)
            axes.scatter(
                bar.values, [y] * len(bar.values), s=7, color="white", edgecolor=INK, linewidth=0.5, zorder=3
            )
    axes.text(
        1.02,
        y,
        short(bar.text, 30, lines=1),
        transform=axes.get_yaxis_transform(),
        va="center",
        fontsize=7,
        color=INK if bar.mean is not None else GREY,
    )


def _names(table: Table, line: Line) -> tuple[str, str]:
    """The group (all labels that vary but the balancer) and the balancer."""
    labels = {
        column.name: entry.value
        for column, entry in zip(table.columns, line.entries, strict=True)
        if column.kind == "label"
    }
    balancer = labels.pop("balancer", "")
    return " · ".join(value for value in labels.values() if value != DASH), balancer


def _several(bars: list[Bar]) -> bool:
    return any(bar.std is not None for bar in bars)
