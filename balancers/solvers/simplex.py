"""The probability simplex: the point of least norm in the convex hull of task gradients, and projections."""

import torch
from torch import Tensor

from .gramians import unit
from .supports import nonnegative


def min_norm(gramian: Tensor) -> Tensor:
    """The argmin of x^T K x over x >= 0, sum x = 1, for K (T, T) without zeros on its diagonal.

    With unit rows, C their cosines and a_i = 1 / norm_i, this is min y^T C y where a^T y = 1. Without the
    constraint, min y^T C y + (a^T y - 1)^2 over y >= 0 has a solution in the same direction, for on each ray
    its value v / (1 + v) grows with v = y^T C y / (a^T y)^2. So opposite gradients need no case of their own.
    """
    cosines, norms = unit(gramian)
    inverse = norms.min() / norms
    values = nonnegative(cosines + torch.outer(inverse, inverse), inverse[:, None])[:, 0]
    values = values * inverse
    return values / values.sum()


def project_to_simplex(point: Tensor) -> Tensor:
    """The nearest point (T,) with entries >= 0 that sum to 1."""
    shifted = point - point.max()  # so that large entries leave digits for the others
    ordered = shifted.sort(descending=True).values
    count = torch.arange(1, len(point) + 1).to(point)
    level = (ordered.cumsum(0) - 1) / count
    last = int((ordered > level).sum()) - 1
    projected = (shifted - level[last]).clamp(min=0)
    return projected / projected.sum()
