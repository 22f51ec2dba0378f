"""Entries of a table: numbers formatted once, so that no renderer does."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

DASH = "\N{EM DASH}"
DAGGER, DOUBLE_DAGGER = "\N{DAGGER}", "\N{DOUBLE DAGGER}"
MINUS = "\N{MINUS SIGN}"
CHECK = "\N{CHECK MARK}"

Rank = Literal["best", "second"]
Spread = Literal["std", "interval", "none"]
"""What stands behind a mean over seeds: the sample standard deviation, half of the 95 % confidence interval
(Student's t), or nothing."""


@dataclass(frozen=True)
class Entry:
    """One formatted entry.

    Attributes:
        value: the mean, or a label, or a dash.
        spread: of the seeds (`Spread`), empty where fewer than two are there.
        note: how many seeds, where they are fewer than the grid's ("2 of 3").
        mean: the number behind `value`, in display units.
        std: the number behind `spread`.
        seeds: how many values the mean is over.
        rank: among the candidates of the same data set.
        mark: stands behind the value; a dagger: of a task that the row did not train.
        gap: of a published number: ours minus it, turned so that positive is better; None where ours is
            missing or of another metric.
        gap_text: the gap, formatted; a dash where the row has a counterpart and the number has no gap.
    """

    value: str
    spread: str = ""
    note: str = ""
    mean: float | None = None
    std: float | None = None
    seeds: int = 0
    rank: Rank | None = None
    mark: str = ""
    gap: float | None = None
    gap_text: str = ""

    @property
    def marked(self) -> str:
        return f"{self.value}{self.mark}"

    @property
    def text(self) -> str:
        spread = f" ± {self.spread}" if self.spread else ""
        note = f" ({self.note})" if self.note else ""
        gap = f" ({self.gap_text})" if self.gap_text else ""
        return f"{self.marked}{spread}{note}{gap}"


def summarise(
    values: Sequence[float], decimals: int, seeds: int, *, signed: bool = False, spread: Spread | bool = True
) -> Entry:
    """Mean and spread (True: the sample standard deviation) of finite values, formatted."""
    if not values:
        return Entry(DASH)
    found = _spread(values, "std" if spread is True else spread or "none")
    return formatted(statistics.fmean(values), found, len(values), decimals, seeds, signed=signed)


def _spread(values: Sequence[float], how: Spread) -> float | None:
    if how == "none" or len(values) < 2:
        return None
    if how == "std":
        return float(np.std(values, ddof=1))
    from mtlbench.statistics.intervals import interval  # brings scipy

    found = interval(values, method="t")
    return None if found.high is None else found.high - found.mean


def formatted(
    mean: float, std: float | None, count: int, decimals: int, seeds: int, *, signed: bool = False
) -> Entry:
    """The entry of a mean over `count` of the grid's `seeds`."""
    return Entry(
        value=number(mean, decimals, signed=signed),
        spread="" if std is None else number(std, decimals),
        note=f"{count} of {seeds}" if count < seeds else "",
        mean=mean,
        std=std,
        seeds=count,
    )


def number(value: float, decimals: int, *, signed: bool = False) -> str:
    """A number with a true minus sign; what rounds to zero has no sign."""
    text = f"{abs(value):.{decimals}f}"
    if float(text) == 0:
        return text
    return (MINUS if value < 0 else "+" if signed else "") + text


def decimals_for(values: Iterable[float]) -> int:
    """Enough decimals for four or five significant digits of a column's largest value."""
    largest = max((abs(value) for value in values if math.isfinite(value)), default=0.0)
    return 4 if largest < 1 else 3 if largest < 10 else 2
