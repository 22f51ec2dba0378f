"""The probability simplex."""

import torch
from torch import Tensor


def project_to_simplex(point: Tensor) -> Tensor:
    """The nearest point (T,) with entries >= 0 that sum to 1."""
    shifted = point - point.max()  # so that large entries leave digits for the others
    ordered = shifted.sort(descending=True).values
    count = torch.arange(1, len(point) + 1).to(point)
    level = (ordered.cumsum(0) - 1) / count
    last = int((ordered > level).sum()) - 1
    projected = (shifted - level[last]).clamp(min=0)
    return projected / projected.sum()
