"""Heat maps over training: lines of something, from left to right stretches of the steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.image import AxesImage

from .style import LIGHT

BINS = 24


def over_training(
    frame: pd.DataFrame, lines: pd.Series, order: Sequence[str | int], value: str, last_step: int
) -> pd.DataFrame:
    """Mean of a column by line and stretch of training; a stretch without a value has that of the next."""
    stretch = np.ceil(frame["step"] * BINS / last_step).clip(1, BINS).astype(int)
    mean = frame.groupby([lines, stretch])[value].mean().unstack()
    return mean.reindex(index=list(order), columns=range(1, BINS + 1)).bfill(axis=1)


def show(axes: Axes, values: np.ndarray, last_step: int, texts: Sequence[str], **how: Any) -> AxesImage:
    """Values (lines, stretches), with a text at the right of each line; grey where there is no value."""
    count = len(values)
    image = axes.imshow(
        values,
        aspect="auto",
        extent=(0, last_step, count - 0.5, -0.5),
        interpolation="nearest",
        **how,
    )
    axes.set_facecolor(LIGHT)
    axes.set_yticks(range(count), [""] * count)
    axes.tick_params(axis="y", length=0)
    axes.spines[:].set_visible(False)
    axes.locator_params(axis="x", nbins=3)
    for i, text in enumerate(texts):
        axes.text(1.02, i, text, transform=axes.get_yaxis_transform(), va="center", fontsize=6.5)
    return image
