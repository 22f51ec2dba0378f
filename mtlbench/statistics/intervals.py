"""Confidence intervals of a mean over seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from mtlbench.errors import MtlbenchError

Method = Literal["auto", "t", "bca"]
BOOTSTRAP_FROM = 10
"""Values from which on `auto` resamples. With fewer, resamples hold far less than they say
(docs/statistics.md)."""
RESAMPLES = 9999
ROUNDING = 1e-12
"""Spread over size below which values count as equal: they differ by rounding alone."""


@dataclass(frozen=True)
class Interval:
    """A mean and the interval that holds the true one with some confidence.

    Attributes:
        low: None where fewer than two values leave the spread unknown; so is `high`.
        n: how many values.
        method: `t`, `bca`, `constant` (all values are equal: the interval has no width), or `none`.
    """

    mean: float
    low: float | None
    high: float | None
    n: int
    method: Literal["t", "bca", "constant", "none"]


def interval(values: Sequence[float], confidence: float = 0.95, method: Method = "auto") -> Interval:
    """The interval of the mean of independent values, one a seed.

    Student's t below `BOOTSTRAP_FROM` values; from there on the bias-corrected and accelerated bootstrap
    (Efron, JASA 1987), whose resamples are the same in every call. What is missing (NaN) is for the caller to
    leave out, who knows what it means.

    Raises:
        MtlbenchError: no value, one that is not finite, or a confidence outside of (0, 1).
    """
    found = np.asarray(values, dtype=float)
    if found.ndim != 1 or not found.size or not np.isfinite(found).all():
        raise MtlbenchError(
            f"an interval needs at least one value, all finite: got {list(values)}; leave missing ones out"
        )
    if not 0 < confidence < 1:
        raise MtlbenchError(f"confidence must be between 0 and 1, got {confidence}")
    mean, n = float(found.mean()), found.size
    if n < 2:
        return Interval(mean, None, None, n, "none")
    if _equal(found):
        return Interval(mean, mean, mean, n, "constant")
    if method == "bca" or (method == "auto" and n >= BOOTSTRAP_FROM):
        bounds = _bootstrap(found, confidence)
        if all(map(math.isfinite, bounds)):
            return Interval(mean, *bounds, n, "bca")
    reach = _quantile((1 + confidence) / 2, n - 1) * float(found.std(ddof=1)) / math.sqrt(n)
    return Interval(mean, mean - reach, mean + reach, n, "t")


@cache
def _quantile(probability: float, freedom: int) -> float:
    """Of Student's t; a table asks for the same one a thousand times."""
    return float(stdtrit(freedom, probability))


def _equal(values: NDArray[np.float64]) -> bool:
    """Whether values differ by no more than rounding."""
    return bool(np.ptp(values) <= ROUNDING * np.abs(values).max())


def _bootstrap(values: NDArray[np.float64], confidence: float) -> tuple[float, float]:
    """BCa bounds; NaN where the acceleration is undefined (values that are all but equal)."""
    from scipy import stats  # takes long to load

    found = stats.bootstrap(
        (values,),
        np.mean,
        confidence_level=confidence,
        n_resamples=RESAMPLES,
        method="BCa",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return float(found.low), float(found.high)
