"""Where task gradients agree and where they fight: their cosines over training."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from mtlbench.results import Results
from mtlbench.table import tabulate

from .chart import Chart
from .style import INK, PAGE, short

BINS = 24
_CAPTION = (
    "Cosine between the gradients of each pair of tasks at the shared parameters over training (left to "
    "right; mean over seeds), and its mean at the right. Blue: the tasks pull together; red: they conflict."
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
    maps = prepare(results)
    return [Chart("cosines", "Gradient cosines", _CAPTION, partial(draw, maps))] if maps else []


def prepare(results: Results) -> list[HeatMap]:
    """A heat map for each row that has finite cosines."""
    finite = results.cosines[np.isfinite(results.cosines["cosine"].to_numpy(dtype=float))]
    names = tabulate(results).names()
    return [
        _heat_map(name, finite[finite["row"] == row])
        for row, name in names.items()
        if (finite["row"] == row).any()
    ]


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
    image = axes.imshow(
        heat_map.values,
        aspect="auto",
        cmap="RdBu",
        vmin=-limit,
        vmax=limit,
        extent=(0, heat_map.last_step, count - 0.5, -0.5),
        interpolation="nearest",
    )
    axes.set_title(short(heat_map.name, 27), fontsize=7, color=INK)
    axes.set_yticks(range(count), heat_map.pairs if named else [""] * count)
    axes.tick_params(axis="y", length=0)
    axes.spines[:].set_visible(False)
    axes.locator_params(axis="x", nbins=3)
    for i, mean in enumerate(np.nanmean(heat_map.values, axis=1)):
        axes.text(1.02, i, f"{mean:+.2f}", transform=axes.get_yaxis_transform(), va="center", fontsize=6.5)
    return image


def _heat_map(name: str, frame: pd.DataFrame) -> HeatMap:
    last = max(int(frame["step"].max()), 1)
    stretch = np.ceil(frame["step"] * BINS / last).clip(1, BINS).astype(int)
    pair = frame["task_a"] + " · " + frame["task_b"]
    mean = frame.groupby([pair, stretch], sort=False)["cosine"].mean().unstack()
    wide = mean.reindex(index=pd.unique(pair), columns=range(1, BINS + 1))
    return HeatMap(name, tuple(wide.index), last, wide.bfill(axis=1).ffill(axis=1).to_numpy())
