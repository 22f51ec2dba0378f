"""Accuracy against cost: a panel for parameters, multiply-accumulates and training time each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, StrMethodFormatter

from mtlbench.naming import same_name
from mtlbench.published_numbers import DELTA_M as PUBLISHED_DELTA_M
from mtlbench.published_numbers import chosen_tables, read_published
from mtlbench.results import Results, TaskColumn
from mtlbench.statistics.groups import DELTA_M, Measure, measures
from mtlbench.statistics.intervals import interval
from mtlbench.table import Table, tabulate

from .chart import Chart
from .front import front
from .leading import leading
from .row_styles import RowStyle, legend_keys, row_styles
from .style import BEYOND, GREY, INK, LIGHT, PAGE, legend, short

_PAPER = "printed in the paper"
_FRONT = "Pareto front"
_MOST_LINES = 6
_ROWS = 120
"""Candidates: more points hide each other, and take seconds to draw."""
_CAPTION = (
    "against the cost: parameters, multiply-accumulates of one image, and training time, all of a row's "
    "networks together. Points are means over seeds{bars}; up and to the left is better. The line is the "
    "Pareto front of the means: no row has a point on its upper left."
)


@dataclass(frozen=True)
class Spot:
    """One row: cost, mean, and 95 % interval where there are two seeds."""

    row: int
    x: float
    y: float
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class Panel:
    """One measure over one cost; printed: points of a paper, each with its model's name."""

    xlabel: str
    ylabel: str
    sign: int
    spots: tuple[Spot, ...]
    printed: tuple[tuple[str, float, float], ...] = ()

    @property
    def front(self) -> list[Spot]:
        """Spots that no other is better than at no more cost, by cost."""
        return [self.spots[i] for i in front([(spot.x, self.sign * spot.y) for spot in self.spots])]


Panels = list[list[Panel]]


def charts(results: Results) -> list[Chart]:
    """One chart, if a candidate has both numbers."""
    candidates = [int(row) for row in results.rows.index[results.rows["role"] == "candidate"]]
    chosen, note = leading(results, candidates, _ROWS)
    left_out = set(candidates) - set(chosen)
    lines = prepare(results, results.costs[~results.costs["row"].isin(left_out)])
    if not any(spot.row in candidates for line in lines for panel in line for spot in panel.spots):
        return []
    text = " ".join([_caption(results, lines), *([note] if note else [])])
    return [Chart("cost", "Accuracy against cost", text, partial(_draw, results, lines))]


def prepare(results: Results, costs: pd.DataFrame) -> Panels:
    """A line of panels for delta_m, or one for each task where there is none; of the rows in `costs`."""
    found = {measure.name: measure for measure in measures(results)}
    tasks = {task.name: task for task in results.tasks}
    chosen = [found[DELTA_M]] if DELTA_M in found else [found[name] for name in tasks if name in found]
    known = _known(costs, "module_macs" if results.published else "macs")
    lines = [
        [_panel(results, measure, tasks.get(measure.name), *cost) for cost in known]
        for measure in chosen[:_MOST_LINES]
    ]
    shown = [[panel for panel in line if len(panel.spots) > 0] for line in lines]
    return [line for line in shown if line]


def _known(costs: pd.DataFrame, macs: str) -> list[tuple[str, str, dict[int, float]]]:
    """Column, axis label, and row -> mean over seeds in the label's unit, of what is known and not 0."""
    longest = costs["train_seconds"].max() if len(costs) else 0.0
    unit, seconds = ("h", 3600.0) if longest >= 3600 else ("min", 60.0) if longest >= 120 else ("s", 1.0)
    columns = (
        ("parameters", "parameters (M)", 1e6),
        (macs, "GMACs", 1e9),
        ("train_seconds", f"training time ({unit})", seconds),
    )
    found = []
    for name, label, scale in columns:
        means = costs.astype({name: float}).groupby("row")[name].mean() / scale
        known = means[np.isfinite(means) & (means > 0)]
        found.append((name, label, dict(zip(map(int, known.index), map(float, known), strict=True))))
    return found


def _panel(
    results: Results,
    measure: Measure,
    task: TaskColumn | None,
    name: str,
    xlabel: str,
    costs: dict[int, float],
) -> Panel:
    roles = results.rows["role"].to_dict()
    spots = []
    for row, values in measure.values.iterrows():
        known = values.to_numpy(float)
        known = known[np.isfinite(known)]
        if roles[row] != "reference" and row in costs and len(known):
            got = interval(list(known), method="t")
            ends = None if got.low is None or got.high is None else (got.low, got.high)
            spots.append(Spot(int(row), costs[row], got.mean, ends if roles[row] == "candidate" else None))
    arrow = "↑" if measure.sign > 0 else "↓"
    ylabel = "Δm (%)" if task is None else f"{task.name} {task.heading} {arrow}"
    printed = _printed(results, name) if task is None else ()
    return Panel(xlabel, ylabel, measure.sign, tuple(spots), printed)


def _tables(results: Results) -> list[str]:
    """The papers' tables that compare methods on these data sets."""
    return chosen_tables(results.published, results.rows["dataset"].unique(), "comparison")


def _printed(results: Results, cost: str) -> tuple[tuple[str, float, float], ...]:
    """Points of papers' tables, on the backbones of the results and for images of their size."""
    if cost not in ("parameters", "module_macs"):
        return ()
    backbones = list(results.rows["backbone"].unique())
    sizes = set(results.captions.get("input_size", "").split(", "))
    found = []
    for row in (row for name in _tables(results) for row in read_published(name)):
        gain = row.metrics.get(PUBLISHED_DELTA_M)
        x = row.params_m if cost == "parameters" else row.gflops
        if gain is None or x is None or not any(same_name(row.backbone, backbone) for backbone in backbones):
            continue
        if cost == "parameters" or row.counted_at is None or "{} x {}".format(*row.counted_at) in sizes:
            found.append((row.model, x, gain))
    return tuple(found)


def _caption(results: Results, lines: Panels) -> str:
    panels = [panel for line in lines for panel in line]
    bars = ", thin bars their 95 % intervals" if any(s.interval for p in panels for s in p.spots) else ""
    if any(_reaches_out(line) for line in lines):
        bars += BEYOND
    what = "Δm (percent)" if panels[0].ylabel.startswith("Δm") else "Each task's metric (better is up)"
    text = f"{what} {_CAPTION.format(bars=bars)}"
    if any(panel.printed for panel in panels):
        names = ", ".join(_tables(results))
        text += (
            f" Hollow: as printed in {names}, whose Δm is over the paper's own baseline; "
            "multiply-accumulates are counted as such tables do."
        )
    return text


def _draw(results: Results, lines: Panels) -> Figure:
    table = tabulate(results)
    rows = dict.fromkeys(spot.row for line in lines for panel in line for spot in panel.spots)
    ahead = {spot.row for line in lines for panel in line for spot in panel.front}
    return draw(lines, row_styles(table, list(rows), ahead), _models(table))


def _models(table: Table) -> dict[str, int]:
    """Method -> a row of it."""
    place = table.index("method")
    return {line.entries[place].value: line.row for line in reversed(table.lines)}


def draw(lines: Panels, styles: dict[int, RowStyle], models: dict[str, int]) -> Figure:
    """A line of panels for each measure, whose panels share the axis; better is up."""
    columns = max(map(len, lines))
    width = PAGE * (1.0 if columns == 3 else 0.7 if columns == 2 else 0.5)
    printed = any(panel.printed for line in lines for panel in line)
    key = legend(_handles(styles, printed=printed), width)
    figure = Figure(figsize=(width, 0.25 + 1.75 * len(lines) + key.height), layout="constrained")
    panels = figure.subplots(len(lines), columns, squeeze=False, sharey="row", sharex="col")
    for axes_of_line, line in zip(panels, lines, strict=True):
        for axes, panel in zip(axes_of_line, line, strict=False):
            _draw_panel(axes, panel, styles, models)
            axes.set_ylim(*_limits(line))
        for axes in axes_of_line[len(line) :]:
            axes.set_axis_off()
        axes_of_line[0].set_ylabel(line[0].ylabel)
        if line[0].sign < 0:
            axes_of_line[0].invert_yaxis()
    for axes, panel in zip(panels[-1], lines[-1], strict=False):
        axes.set_xlabel(panel.xlabel)
    key.draw(figure)
    return figure


def _draw_panel(axes: Axes, panel: Panel, styles: dict[int, RowStyle], models: dict[str, int]) -> None:
    ahead = panel.front
    axes.step(
        [spot.x for spot in ahead],
        [spot.y for spot in ahead],
        where="post",
        color=GREY,
        linewidth=0.9,
        zorder=1,
    )
    for spot in panel.spots:
        style = styles[spot.row]
        if spot.interval is not None and style.named:
            axes.plot([spot.x] * 2, spot.interval, color=style.colour, linewidth=0.6, alpha=0.6, zorder=2)
        if style.named:
            axes.plot(spot.x, spot.y, linestyle="", **style.marker_options, zorder=4)
    pale = [spot for spot in panel.spots if not styles[spot.row].named]
    if pale:  # all alike
        options = styles[pale[0].row].marker_options
        axes.plot([s.x for s in pale], [s.y for s in pale], linestyle="", **options, zorder=3)
    for model, x, y in panel.printed:
        ours = next((row for name, row in models.items() if row in styles and same_name(name, model)), None)
        colour = GREY if ours is None else styles[ours].colour
        axes.plot(
            x, y, marker="o", markersize=4, markerfacecolor="none", markeredgecolor=colour, linestyle=""
        )
    if panel.ylabel.startswith("Δm"):
        axes.axhline(0, color=LIGHT, linewidth=0.8, zorder=0)
    costs = [spot.x for spot in panel.spots] + [x for _, x, _ in panel.printed]
    if max(costs) > 20 * min(costs):
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(numticks=9))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))  # no formulas are read in labels
    else:
        axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.margins(x=0.08)
    axes.grid()
    axes.set_axisbelow(True)


def _limits(line: Sequence[Panel]) -> tuple[float, float]:
    """All points, and intervals as far as the points' own range: those of two seeds would hide the points."""
    spots = [spot for panel in line for spot in panel.spots]
    points = [spot.y for spot in spots] + [y for panel in line for _, _, y in panel.printed]
    low, high = min(points), max(points)
    room = (high - low) or abs(high) or 1.0
    ends = [end for spot in spots for end in spot.interval or ()]
    low, high = max(min([low, *ends]), low - room / 2), min(max([high, *ends]), high + room / 2)
    return low - 0.06 * room, high + 0.06 * room


def _reaches_out(line: Sequence[Panel]) -> bool:
    """Whether an interval is longer than what there is room for."""
    low, high = _limits(line)
    ends = [end for panel in line for spot in panel.spots for end in spot.interval or ()]
    return any(end < low or end > high for end in ends)


def _handles(styles: dict[int, RowStyle], *, printed: bool) -> Sequence[Line2D]:
    found = [_handle(short(name, 34), options) for name, options in legend_keys(styles.values()).items()]
    found.append(Line2D([], [], color=GREY, linewidth=0.9, label=_FRONT))
    if printed:
        hollow = {"marker": "o", "markersize": 4, "markerfacecolor": "none", "markeredgecolor": INK}
        found.append(_handle(_PAPER, hollow))
    return found


def _handle(label: str, options: dict[str, Any]) -> Line2D:
    return Line2D([], [], linestyle="", label=label, **options)
