"""How often task gradients conflict over training, and how near they are to linear dependence."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, StrMethodFormatter

from mtlbench.entries import DASH
from mtlbench.results import Results
from mtlbench.table import tabulate

from . import heat
from .chart import Chart
from .style import INK, PAGE, short

_CONFLICTS = "share of the pairs of tasks whose gradients have a negative cosine (mean over seeds)"
_CONDITION = (
    "condition number of the matrix of cosines (geometric mean over seeds): 1 where all gradients are "
    "orthogonal, at most 10^16, where some are linearly dependent"
)
_READING = "Over training, left to right; the means stand at the right. Grey: nothing was recorded."


@dataclass(frozen=True)
class Conflicts:
    """Rows of the table x stretches of training (NaN where there is no value): percent, and logarithms."""

    names: tuple[str, ...]
    last_step: int
    percent: np.ndarray
    log_condition: np.ndarray

    @property
    def both(self) -> bool:
        """Whether condition numbers were recorded, too."""
        return bool(np.isfinite(self.log_condition).any())


def charts(results: Results) -> list[Chart]:
    """One chart, if any row recorded conflicts."""
    found = prepare(results)
    if not found:
        return []
    parts = [f"Left: {_CONFLICTS}.", f"Right: {_CONDITION}."] if found.both else [f"The {_CONFLICTS}."]
    return [Chart("conflicts", "Gradient conflicts", " ".join([*parts, _READING]), partial(draw, found))]


def prepare(results: Results) -> Conflicts | None:
    """The rows that have pairs of gradients, in the order of the table."""
    frame = results.balancing.astype({"conflicts": float, "condition": float})
    frame = frame[np.isfinite(frame["conflicts"])]
    if frame.empty:
        return None
    frame = frame.assign(percent=100 * frame["conflicts"], log=np.log10(frame["condition"]))
    names = {row: name for row, name in tabulate(results).names().items() if (frame["row"] == row).any()}
    last = int(frame["step"].max())
    percent, log = (heat.over_training(frame, frame["row"], list(names), v, last) for v in ("percent", "log"))
    return Conflicts(tuple(names.values()), last, percent.to_numpy(), log.to_numpy())


def draw(found: Conflicts) -> Figure:
    """Two panels with the same lines; the second one only if condition numbers were recorded."""
    count = len(found.names)
    height = max(1.5, 0.75 + 0.19 * count)
    figure = Figure(figsize=(PAGE if found.both else PAGE * 0.6, height), layout="constrained")
    axes = figure.subplots(1, 2 if found.both else 1, squeeze=False)[0]
    share = partial(_panel, last=found.last_step, title="conflicting pairs (%)")
    share(
        figure, axes[0], found.percent, [f"{x:.0f}" for x in _means(found.percent)], Normalize(0, 100), "Reds"
    )
    axes[0].set_yticks(range(count), [short(name, 44, lines=1) for name in found.names])
    if found.both:
        means = [_number(10**x) if np.isfinite(x) else DASH for x in _means(found.log_condition)]
        highest = max(10.0, 10 ** float(np.nanmax(found.log_condition)))
        condition = partial(_panel, last=found.last_step, title="condition number")
        condition(figure, axes[1], 10**found.log_condition, means, LogNorm(1, highest), "Purples")
    return figure


def _panel(
    figure: Figure,
    axes: Axes,
    values: np.ndarray,
    texts: list[str],
    norm: Normalize,
    cmap: str,
    *,
    last: int,
    title: str,
) -> None:
    image = heat.show(axes, values, last, texts, cmap=cmap, norm=norm)
    axes.set_title(title, color=INK)
    axes.set_xlabel("step")
    ticks = LogLocator(numticks=5) if isinstance(norm, LogNorm) else [0, 50, 100]
    bar = figure.colorbar(image, ax=axes, pad=0.04, aspect=12, fraction=0.08, ticks=ticks)
    bar.formatter = StrMethodFormatter("{x:g}")
    bar.minorticks_off()
    bar.outline.set_visible(False)


def _means(values: np.ndarray) -> list[float]:
    return [float(np.nanmean(line)) if np.isfinite(line).any() else float("nan") for line in values]


def _number(value: float) -> str:
    return (
        f"{value:.1f}"
        if value < 100
        else f"{value:.0f}"
        if value < 1e4
        else f"{value:.0e}".replace("e+", "e")
    )
