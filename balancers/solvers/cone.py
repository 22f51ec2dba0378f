"""Weights with lower bounds: projection onto the dual cone of task gradients."""

from torch import Tensor

from .gramians import unit
from .supports import nonnegative


def lower_bounded(matrix: Tensor, bounds: Tensor) -> Tensor:
    """The argmin of v^T K v over v >= l, for K (T, T) and each column l of `bounds` (T, K).

    G^T v is then the vector nearest to G^T l whose inner product with no row of G is negative.
    """
    cosines, norms = unit(matrix)
    raised = nonnegative(cosines, -cosines @ (bounds * norms[:, None]))
    return bounds + raised / norms[:, None]
