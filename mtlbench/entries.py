"""Entries of a table: numbers formatted once, so that no renderer does."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

DASH = "\N{EM DASH}"
MINUS = "\N{MINUS SIGN}"

Rank = Literal["best", "second"]


@dataclass(frozen=True)
class Entry:
    """One formatted entry.

    Attributes:
        value: the mean, or a label, or a dash.
        spread: the sample standard deviation, empty where fewer than two seeds are there.
        note: how many seeds, where they are fewer than the grid's ("2 of 3").
        mean: the number behind `value`, in display units.
        std: the number behind `spread`.
        seeds: how many values the mean is over.
        rank: among the candidates of the same data set.
    """

    value: str
    spread: str = ""
    note: str = ""
    mean: float | None = None
    std: float | None = None
    seeds: int = 0
    rank: Rank | None = None

    @property
    def text(self) -> str:
        spread = f" ± {self.spread}" if self.spread else ""
        note = f" ({self.note})" if self.note else ""
        return f"{self.value}{spread}{note}"


def summarise(
    values: Sequence[float], decimals: int, seeds: int, *, signed: bool = False, spread: bool = True
) -> Entry:
    """Mean and sample standard deviation of finite values, formatted."""
    if not values:
        return Entry(DASH)
    std = statistics.stdev(values) if spread and len(values) > 1 else None
    return formatted(statistics.fmean(values), std, len(values), decimals, seeds, signed=signed)


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
