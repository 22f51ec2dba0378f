"""Quadratic problems with signs, solved exactly: on the right support they are linear systems.

For up to LIMIT tasks every support is tried, all at once; beyond, an active-set method finds the support.
Candidates are judged by how far they are from optimal, not by their objective: near the optimum that is blind
to half of the digits.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from mtlbench.balancing import Unsolvable

LIMIT = 10
"""Most tasks for which all supports are tried."""
TOLERANCE = 1e-6
"""Largest violation of the conditions of optimality, in problems whose numbers are about 1."""


def nonnegative(matrix: Tensor, right: Tensor) -> Tensor:
    """The argmin of y^T Q y / 2 - b^T y over y >= 0, for each column b.

    Args:
        matrix: Q (T, T), positive semidefinite with a diagonal of about 1.
        right: b (T, K), each column in the range of Q, or at least such that the minimum exists.

    Raises:
        Unsolvable: the minimum doesn't exist, or can't be told from rounding errors.
    """
    scale = right.abs().amax(0).clamp(min=torch.finfo(right.dtype).tiny)
    right = right / scale
    if len(matrix) <= LIMIT:
        masks = all_supports(len(matrix))
    else:
        masks = torch.stack([active_set(matrix, column) for column in right.T])
    found = solve_on(masks, matrix, right).clamp(min=0)
    worst = violation(found, matrix @ found - right)  # (supports, K)
    best = worst.argmin(0)
    if not (worst.amin(0) <= TOLERANCE).all():
        raise Unsolvable(f"no weights are optimal; those nearest to it are off by {worst.amin(0).max():.1e}")
    return found[best, :, torch.arange(right.shape[1])].T * scale


def violation(values: Tensor, slack: Tensor) -> Tensor:
    """How far y >= 0 (..., T, K) is from optimal, where min(y, gradient at y) = 0. NaN counts as far."""
    return torch.minimum(values, slack).abs().amax(-2).nan_to_num(nan=torch.inf)


def solve_on(masks: Tensor, matrix: Tensor, right: Tensor) -> Tensor:
    """Q_SS y_S = b_S and y = 0 elsewhere: (B, T, K) for supports S (B, T), Q (T, T) and b (T, K).

    What belongs to a singular Q_SS is not finite, or noise.
    """
    identity = torch.eye(len(matrix), dtype=matrix.dtype)
    systems = torch.where(masks[:, :, None] & masks[:, None, :], matrix, identity)
    return torch.linalg.solve_ex(systems, masks[..., None] * right)[0]


@lru_cache(maxsize=LIMIT)
def all_supports(count: int) -> Tensor:
    """Every subset of `count` things, the empty one as well: (2^count, count) bool."""
    return (torch.arange(2**count)[:, None] >> torch.arange(count)) % 2 == 1


def active_set(matrix: Tensor, right: Tensor) -> Tensor:
    """The support (T,) bool of the y >= 0 that minimises y^T Q y / 2 - b^T y, by Lawson and Hanson's method.

    Raises:
        Unsolvable: the minimum doesn't exist, or rounding errors keep it from being found.
    """
    values = torch.zeros_like(right)
    inside = torch.zeros(len(right), dtype=torch.bool)
    barred = inside.clone()  # entered and left again at once, because of rounding
    for _ in range(20 * len(right)):
        gain = (right - matrix @ values).masked_fill(inside | barred, -torch.inf)
        entering = int(gain.argmax())
        if gain[entering] <= 1e-13:
            return inside
        inside[entering] = True
        values, inside = _descend(matrix, right, values, inside)
        if inside[entering]:
            barred.zero_()
        else:
            barred[entering] = True
    raise Unsolvable("the active-set method doesn't come to an end")


def _descend(matrix: Tensor, right: Tensor, values: Tensor, inside: Tensor) -> tuple[Tensor, Tensor]:
    """The minimum on the support, or on what remains of it once all values are > 0."""
    while inside.any():
        target = solve_on(inside[None], matrix, right[:, None])[0, :, 0]
        if not target.isfinite().all():
            raise Unsolvable("the problem is singular")
        blocking = inside & (target <= 0)
        if not blocking.any():
            return target, inside
        ratios = (values / (values - target).clamp(min=torch.finfo(values.dtype).tiny))[blocking]
        values = values + ratios.min() * (target - values)
        leaving = blocking.clone()
        leaving[blocking] = ratios == ratios.min()
        inside = inside & ~leaving
        values = torch.where(inside, values, 0.0)
    return values, inside
