"""Newton's method for the balance that Nash-MTL and FairGrad ask for."""

import torch
from torch import Tensor

from mtlbench.balancing import Unsolvable

from .gramians import unit

TOLERANCE = 1e-12
NULL = 1e-13
"""|G^T x|^2 of gradients of length 1, with x >= 0 and sum x = 1, that is zero: as far as rows in float32 can
be from cancelling exactly."""
MOST_STEPS = 1000
"""A few to a few dozen are usual."""


def fair_weights(gramian: Tensor, alpha: float) -> Tensor:
    """The w > 0 with (K w)_i = w_i^(-1/alpha), which is unique.

    It is the minimum of w^T K w / 2 - sum_i phi(w_i), phi' = w^(-1/alpha), which is strictly convex. There is
    one unless a convex combination of the task gradients is zero: the function then falls for ever along it.
    alpha = 1 doesn't depend on the sizes of the gradients and is always within reach of Newton's method (the
    function is self-concordant), so that it decides whether there is a solution; other alphas start there.

    Raises:
        Unsolvable: a convex combination of the task gradients is zero.
    """
    cos, norms = unit(gramian)
    power = 1 / alpha
    start = torch.ones_like(norms) / (cos.mean() * len(norms)).clamp(min=NULL).sqrt()
    lengths = _newton(cos, torch.zeros_like(norms), 1.0, start)
    if alpha != 1:
        logs = norms.log()
        lengths = _newton(cos, logs, power, lengths * (logs * (power - 1) / (power + 1)).exp())
    return lengths / norms


def _newton(cos: Tensor, logs: Tensor, power: float, lengths: Tensor) -> Tensor:
    """With u_i = n_i w_i (`lengths`) and n = exp(`logs`): u_i (C u)_i = q_i, q = (n / u)^(power - 1).

    Steps are relative, du / u, and are damped while they are large; u stays positive. Solved when the
    relative error is below `TOLERANCE`, or below the rounding error of C u: where gradients nearly cancel, u
    solves the problem of a C that differs in its last digits.
    """
    count = len(cos)
    rounding = 4 * count * torch.finfo(cos.dtype).eps
    damping = max(1.0, (power + 1) / 2)
    for _ in range(MOST_STEPS):
        share = lengths / lengths.sum()
        if share @ cos @ share <= NULL:
            raise Unsolvable("a convex combination of the task gradients is zero")
        target = ((logs - lengths.log()) * (power - 1)).exp()
        terms = torch.outer(lengths, lengths) * cos
        error = terms.sum(1) / target - 1
        if (error.abs() <= (rounding * terms.abs().sum(1) / target).clamp(min=TOLERANCE)).all():
            return lengths
        root = target.sqrt()
        hessian = terms / root[:, None] / root + power * torch.eye(count, dtype=cos.dtype)
        step = -torch.linalg.solve_ex(hessian, root * error)[0] / root
        if not step.isfinite().all():
            raise Unsolvable("the weights leave the range of float64")
        lengths = lengths * (step / (1 + damping * step.abs().max())).exp()
    raise Unsolvable(f"Newton's method did not end in {MOST_STEPS} steps")
