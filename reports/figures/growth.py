"""How costs grow with the number of tasks, and with the size of the images."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from mtlbench.entries import DASH
from mtlbench.results import Results

from .chart import Chart
from .style import GREY, MARKERS, PAGE, PALETTE, legend, line_style, short

SEPARATE = "single-task networks"
_LABELS = ("backbone", "method", "balancer", "tuning")
"""Rows that agree on these are one line, whatever their tasks and image sizes are."""
_MOST = len(PALETTE)
_COSTS = {
    "parameters": ("parameters (M)", 1e-6),
    "macs": ("GMACs", 1e-9),
    "milliseconds": ("ms a training image", 1.0),
    "peak_memory_mb": ("memory (GB)", 1e-3),
}
_TASKS = (
    "Costs of networks by the number of tasks that they learned; a point is the mean over sets of that many "
    "tasks and over seeds. Dashed: as many single-task networks, by their mean. Time and memory are those of "
    "training, multiply-accumulates of one image."
)
_PIXELS = (
    "Costs of networks by the size of the images; a point is the mean over seeds and over data sets with "
    "images of that size. Time and memory are those of training, multiply-accumulates of one image."
)


@dataclass(frozen=True)
class Growth:
    """Costs over one thing that grows.

    Attributes:
        lines: name -> index: the thing, columns: costs (some of `_COSTS`), in the units of their labels.
        left_out: lines that there are too many of.
    """

    xlabel: str
    lines: dict[str, pd.DataFrame]
    left_out: int = 0


def charts(results: Results) -> list[Chart]:
    """One chart for tasks and one for pixels, each if any line has two points."""
    tasks, pixels = by_tasks(results), by_pixels(results)
    found = []
    for growth, name, title, text in (
        (tasks, "growth_tasks", "Costs by number of tasks", _TASKS),
        (pixels, "growth_pixels", "Costs by image size", _PIXELS),
    ):
        if growth.lines:
            note = f" {growth.left_out} more lines have no room." if growth.left_out else ""
            found.append(Chart(name, title, text + note, partial(draw, growth)))
    return found


def by_tasks(results: Results) -> Growth:
    """Networks trained in one stage, for all the tasks that they have."""
    costs = _measured(results)
    growth = _growth(costs.assign(x=costs["tasks"]), "tasks", ["parameters", *list(_COSTS)[1:]])
    baseline = results.rows.index[results.rows["role"] == "baseline"]
    if not growth.lines or baseline.empty:
        return growth
    total = results.costs[results.costs["row"].isin(baseline)].astype({"parameters": float, "macs": float})
    one = total[["parameters", "macs"]].div(total["row"].map(results.rows["networks"]), axis=0).mean()
    counts = np.arange(1, max(line.index.max() for line in growth.lines.values()) + 1)
    scaled = {name: one[name] * counts * _COSTS[name][1] for name in one.index if np.isfinite(one[name])}
    return Growth(
        growth.xlabel, {**growth.lines, SEPARATE: pd.DataFrame(scaled, index=counts)}, growth.left_out
    )


def by_pixels(results: Results) -> Growth:
    """Networks for the same number of tasks."""
    costs = _measured(results)
    if "pixels" not in costs:
        return Growth("", {})
    costs = costs[costs["pixels"] > 0]
    most = costs.groupby(list(_LABELS))["tasks"].transform("max")
    same = costs[costs["tasks"] == most]
    return _growth(same.assign(x=same["pixels"] / 1e3), "thousand pixels", list(_COSTS)[1:])


def _measured(results: Results) -> pd.DataFrame:
    """A line for each row and seed of one network that was trained in one stage, with its labels."""
    rows = results.rows
    tasks = rows["trained"].map(len)
    whole = (rows["role"] == "candidate") & (rows["networks"] == 1) & (rows["stages"].map(len) == 1)
    whole &= rows["trained"].map(set) == rows["evaluated"].map(set)
    labelled = rows.loc[whole, list(_LABELS)].astype(str).assign(tasks=tasks[whole])
    costs = results.costs.merge(labelled, left_on="row", right_index=True)
    speed = costs["images_per_second"].astype(float)
    return costs.assign(milliseconds=1000 / speed.where(speed > 0))


def _growth(costs: pd.DataFrame, xlabel: str, names: list[str]) -> Growth:
    """Lines with at least two points, named by the labels that tell them apart."""
    varying = [label for label in _LABELS if label == "method" or costs[label].nunique() > 1]
    grow = costs.groupby(list(_LABELS))["x"].transform("nunique") > 1
    lines = {}
    for labels, members in costs[grow].groupby(list(_LABELS), sort=False):
        mean = members.astype(dict.fromkeys(names, float)).groupby("x")[names].mean()
        by_label = dict(zip(_LABELS, map(str, labels), strict=True))
        name = " · ".join(by_label[label] for label in varying if by_label[label] not in ("", DASH))
        lines[name] = mean * [_COSTS[column][1] for column in names]
    kept = dict(list(lines.items())[:_MOST])
    return Growth(xlabel, kept, len(lines) - len(kept))


def draw(growth: Growth) -> Figure:
    """A panel for each cost that is known, a line for each kind of network."""
    names = [name for name in _COSTS if any(_known(line, name) for line in growth.lines.values())]
    styles = {name: _style(i, name) for i, name in enumerate(growth.lines)}
    handles = [Line2D([], [], label=short(name, 34), **styles[name]) for name in styles]
    width = PAGE * (1.0 if len(names) > 2 else 0.6)
    key = legend(handles, width)
    figure = Figure(figsize=(width, 1.8 + key.height), layout="constrained")
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        for label, line in growth.lines.items():
            if _known(line, name):
                axes.plot(line.index, line[name], **styles[label])
        axes.set(xlabel=growth.xlabel, title=_COSTS[name][0])
        axes.set_ylim(0, 1.08 * max(line[name].max() for line in growth.lines.values() if _known(line, name)))
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.grid()
        axes.set_axisbelow(True)
    key.draw(figure)
    return figure


def _known(line: pd.DataFrame, name: str) -> bool:
    return name in line and bool(np.isfinite(line[name]).any())


def _style(place: int, name: str) -> dict[str, Any]:
    if name == SEPARATE:
        return {"color": GREY, "linestyle": "--", "linewidth": 1.0}
    return {**line_style(place), "marker": MARKERS[place % len(MARKERS)], "markersize": 3.5}
