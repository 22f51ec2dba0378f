"""The vector near the average gradient that descends the worst task most."""

import torch
from torch import Tensor

from mtlbench.balancing import Unsolvable

from .gramians import unit
from .supports import LIMIT, active_set, all_supports, solve_on, violation

_TOLERANCE = 1e-8
_LENGTH_TOLERANCE = 1e-6
_LARGEST = 7e4
"""Of weights per unit row, since rounding moves the squared length of their sum by 1e-16 of their squares."""


def worst_in_ball(gramian: Tensor, radius: float) -> Tensor:
    """The y (T,) >= 0 such that d = g_0 + G^T y maximises min_i g_i . d over |d - g_0| <= c |g_0|.

    In units of |g_0|, with unit rows, C their cosines, e_i = 1 / norm_i and f_i the cosine of g_i and g_0,
    the best value mu, y >= 0 and its support S obey

        C_SS y_S = mu e_S - f_S,   y^T C y = c^2,   (C y + f)_j >= mu e_j outside S

    where p = e^T C_SS^-1 e, q = e^T C_SS^-1 f, r = f^T C_SS^-1 f give mu = (q + sqrt(q^2 - p (r - c^2))) / p.

    Raises:
        Unsolvable: no vector of the ball descends every task, and those that harm none are many.
    """
    mean = gramian.mean().clamp(min=0).sqrt()
    if radius == 0 or mean <= 1e-7 * gramian.diagonal().amax().sqrt():  # the ball is one point
        return torch.zeros_like(gramian[0])
    cosines, norms = unit(gramian)
    inverse, towards_mean = norms.min() / norms, gramian.mean(1) / norms / mean
    if len(gramian) <= LIMIT:
        masks = all_supports(len(gramian))
    else:
        masks = _supports_by_bisection(cosines, inverse, towards_mean, radius)
    found = _on_supports(masks, cosines, inverse, towards_mean, radius)
    return found * mean / norms


def _on_supports(masks: Tensor, cosines: Tensor, e: Tensor, f: Tensor, radius: float) -> Tensor:
    """The best y (T,) of those on the supports (B, T)."""
    for_e, for_f = solve_on(masks, cosines, torch.stack([e, f], dim=1)).unbind(-1)
    p, q, r = for_e @ e, for_e @ f, for_f @ f
    root = (q * q - p * (r - radius**2)).clamp(min=0).sqrt()
    best_value = torch.where(q > 0, (q + root) / p, (r - radius**2) / (q - root))[:, None]
    found = (best_value * for_e - for_f).clamp(min=0)
    images = found @ cosines
    slack = images + f - best_value * e
    length_error = ((found * images).sum(1).sqrt() - radius).abs().nan_to_num(nan=torch.inf)
    slack_error = violation(found[..., None], slack[..., None])[:, 0]
    worst = torch.maximum(slack_error / _TOLERANCE, length_error / _LENGTH_TOLERANCE)
    best = int(worst.argmin())
    if not (worst[best] <= 1 and found[best].amax() <= _LARGEST):
        raise Unsolvable(
            "the gradients oppose each other: no direction near their average descends all tasks"
        )
    return found[best]


def _supports_by_bisection(cosines: Tensor, e: Tensor, f: Tensor, radius: float) -> Tensor:
    """Supports (2, T) on both sides of the mu at which y^T C y = c^2; the length of y grows with mu."""
    low, high = float((f / e).min()), 1 + radius
    below = above = torch.zeros(len(e), dtype=torch.bool)
    for _ in range(120):
        middle = (low + high) / 2
        try:
            support = active_set(cosines, middle * e - f)
            values = solve_on(support[None], cosines, (middle * e - f)[:, None])[0, :, 0]
            long = bool(values @ cosines @ values >= radius**2)
        except Unsolvable:  # y is unbounded
            high = middle
            continue
        if long:
            high, above = middle, support
        else:
            low, below = middle, support
        if bool(below.any()) and torch.equal(below, above):
            break
    return torch.stack([below, above])
