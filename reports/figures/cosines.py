"""Where task gradients agree and where they fight: their cosines over training."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from mtlbench.entries import DASH, number
from mtlbench.results import Results
from mtlbench.table import tabulate

from . import heat
from .chart import Chart
from .leading import leading
from .style import INK, PAGE, short

_ROWS = 12
_CAPTION = (
    "Cosine between the gradients of each pair of tasks, where the row's balancer takes them, over training "
    "(left to right; mean over seeds), and its mean at the right. Blue: the tasks pull together; red: they "
    "conflict."
)


@dataclass(frozen=True)
class HeatMap:
    """One row of the table: pairs of tasks x stretches of training (NaN where there is no value)."""

    name: str
    pairs: tuple[str, ...]
    last_step: int
    values: np.ndarray


def charts(results: Results) -> list[Chart]:
    """One chart, if any row recorded cosines."""
    maps, note = prepare(results)
    text = f"{_CAPTION} {note}".strip()
    return [Chart("cosines", "Gradient cosines", text, partial(draw, maps))] if maps else []


def prepare(results: Results) -> tuple[list[HeatMap], str]:
    """A heat map for each row that has finite cosines, and a note where rows are left out."""
    finite = results.cosines[np.isfinite(results.cosines["cosine"].to_numpy(dtype=float))]
    pairs = _pairs(finite, [task.name for task in results.tasks])
    names = {row: name for row, name in tabulate(results).names().items() if (finite["row"] == row).any()}
    chosen, note = leading(results, list(names), _ROWS)
    return [_heat_map(names[row], finite[finite["row"] == row], pairs) for row in chosen], note


def draw(maps: list[HeatMap]) -> Figure:
    """Up to three heat maps a line with one colour scale."""
    columns = min(3, len(maps))
    lines = -(-len(maps) // columns)
    pairs = max(len(heat_map.pairs) for heat_map in maps)
    width = {1: 0.6, 2: 0.85, 3: 1.0}[columns] * PAGE
    figure = Figure(figsize=(width, lines * (0.55 + 0.15 * pairs) + 0.4), layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False)
    limit = max(0.2, max(float(np.nanmax(np.abs(heat_map.values))) for heat_map in maps))
    for i, (panel, heat_map) in enumerate(zip(axes.flat, maps, strict=False)):
        image = _panel(panel, heat_map, limit, named=i % columns == 0)
    for panel in axes.flat[len(maps) :]:
        panel.remove()
    bar = figure.colorbar(image, ax=axes.flat[: len(maps)], shrink=min(1.0, 1.6 / lines), pad=0.02, aspect=14)
    bar.set_label("cosine")
    bar.outline.set_visible(False)
    for panel in axes.flat[: len(maps)][-columns:]:
        panel.set_xlabel("step")
    return figure


def _panel(axes: Axes, heat_map: HeatMap, limit: float, *, named: bool) -> AxesImage:
    count = len(heat_map.pairs)
    means = [
        DASH if np.isnan(v).all() else number(float(np.nanmean(v)), 2, signed=True) for v in heat_map.values
    ]
    image = heat.show(axes, heat_map.values, heat_map.last_step, means, cmap="RdBu", vmin=-limit, vmax=limit)
    axes.set_title(short(heat_map.name, 27), fontsize=7, color=INK)
    if named:
        axes.set_yticks(range(count), heat_map.pairs)
    return image


def _pairs(frame: pd.DataFrame, order: list[str]) -> list[str]:
    """The pairs that any row has, in the order of the tasks, so that panels beside each other agree."""
    place = {task: i for i, task in enumerate(order)}
    found = set(zip(frame["task_a"], frame["task_b"], strict=True))
    ordered = sorted(found, key=lambda pair: [(place.get(task, len(place)), task) for task in pair])
    return [" · ".join(pair) for pair in ordered]


def _heat_map(name: str, frame: pd.DataFrame, pairs: list[str]) -> HeatMap:
    last = max(int(frame["step"].max()), 1)
    pair = frame["task_a"] + " · " + frame["task_b"]
    values = heat.over_training(frame, pair, pairs, "cosine", last).ffill(axis=1)
    return HeatMap(name, tuple(pairs), last, values.to_numpy())
