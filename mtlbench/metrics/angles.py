"""Sets of angles, as the counts and sums that every score needs."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

BINS = 2**18 + 1
WIDTH = 180 / (BINS - 1)
"""Degrees between centres of the histogram that medians are read from: 0.0007, so a median is right to
0.00035 degrees."""
BOUNDS = (11.25, 22.5, 30)


class Angles(NamedTuple):
    """What is kept of a set of angles; sets add up part by part.

    Attributes:
        counts: (4,) int64: how many, and how many below each of `BOUNDS`.
        sums: (2,) float64: of the angles and of their squares.
        histogram: (BINS,) int64.
    """

    counts: Tensor
    sums: Tensor
    histogram: Tensor

    def scores(self) -> list[Tensor]:
        """Mean, median, root mean square, percentages below `BOUNDS`; all NaN where there is no angle or one
        is NaN.
        """
        pixels, *below = self.counts
        mean, square = self.sums / pixels
        median = _median(self.histogram)
        found = [mean, median, square.sqrt(), *(100 * count / pixels for count in below)]
        return [torch.where(mean.isnan(), mean, value) for value in found]

    @classmethod
    def of(cls, degrees: Tensor) -> Angles:
        """(n,) float32."""
        below = [(degrees < bound).sum() for bound in BOUNDS]
        counts = torch.stack([torch.full_like(below[0], len(degrees)), *below])
        sums = [degrees.sum(dtype=torch.float64), degrees.square().sum(dtype=torch.float64)]
        bins = (degrees.nan_to_num(0.0) * (1 / WIDTH)).round().long()
        return cls(counts, torch.stack(sums), torch.bincount(bins, minlength=BINS))


def _median(histogram: Tensor) -> Tensor:
    """(BINS,) -> scalar, of an even number of angles the mean of the middle two; NaN where there are none."""
    until = histogram.cumsum(0)
    total = until[-1]
    middle = torch.stack([(total - 1) // 2, total // 2])
    found = torch.searchsorted(until, middle, right=True).double().mean() * WIDTH
    return torch.where(total > 0, found, float("nan"))
