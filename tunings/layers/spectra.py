"""Spectra resampled along CPAB maps, as DITASK does: S'_i = S at the index (K - 1) phi(i / (K - 1)), linear
between two. As phi keeps 0 and 1 and their order, S' has the ends of S and is sorted as S is.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .cpab import warp


class Spectra:
    """Spectra S (G, K), descending, that are deformed together: each along the map of one theta (1, n - 1).

    n is the same for all, G and K are not. All their points are one row, and so are all their values.
    """

    def __init__(self, spectra: Sequence[Tensor]) -> None:
        self.shapes = [(s.shape[0], s.shape[1]) for s in spectra]
        self.sizes = [groups * k for groups, k in self.shapes]
        self.values = torch.cat([s.flatten() for s in spectra])  # (V,)
        device = self.values.device

        def joined(parts: list[Tensor]) -> Tensor:
            return torch.cat(parts).to(device)

        points = [torch.linspace(0, 1, k, dtype=torch.float64) for _, k in self.shapes]
        self.points = joined(points)  # (P,)
        self.map_of = joined([torch.full((k,), i) for i, (_, k) in enumerate(self.shapes)])
        starts = torch.tensor([0, *(k for _, k in self.shapes)]).cumsum(0)
        rows = [(starts[i] + torch.arange(k), k) for i, (g, k) in enumerate(self.shapes) for _ in range(g)]
        self.point_of = joined([row for row, _ in rows])  # (V,)
        self.last = joined([torch.full((k,), k - 1.0, dtype=torch.float64) for _, k in rows])
        begins = torch.tensor([0, *(k for _, k in rows)]).cumsum(0)
        self.begin = joined([begins[i].expand(k) for i, (_, k) in enumerate(rows)])

    def deformed(self, thetas: Sequence[Tensor]) -> list[Tensor]:
        """S' (G, K) of each."""
        place = warp(torch.cat(list(thetas)), self.points, self.map_of)[self.point_of] * self.last
        low = place.detach().floor().minimum((self.last - 1).clamp(min=0))
        index = self.begin + low.long()
        lower, upper = self.values[index], self.values[(index + 1).clamp(max=len(self.values) - 1)]
        values = lower + (place - low).to(lower.dtype) * (upper - lower)
        return [part.view(shape) for part, shape in zip(values.split(self.sizes), self.shapes, strict=True)]


def deform(spectrum: Tensor, theta: Tensor) -> Tensor:
    """S (G, K) along the map of theta (1, n - 1) -> S' (G, K)."""
    return Spectra([spectrum]).deformed([theta])[0]
