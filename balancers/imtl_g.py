"""Impartial multi-task learning, the gradient part (IMTL-G).

Liu, Li, Kuang, Xue, Chen, Yang, Liao, Zhang: Towards Impartial Multi-task Learning, ICLR 2021, section 3.1.

The weights alpha with sum 1 whose update d = sum_i alpha_i g_i has the same projection on every unit vector
g_i / |g_i|:

    alpha = v / sum v,   v = K^-1 n,   n_i = |g_i|

This is the paper's closed form with D and U, as a function of the Gramian K. Weights may be negative; they
are large where gradients are nearly parallel. Where gradients are dependent so that only d = 0 has equal
projections (two opposite ones, say), there are no weights: LibMTL takes that d = 0, TorchJD a d without equal
projections.
"""

import torch
from torch import Tensor

from mtlbench.balancing import Step, Unsolvable, Weighting

from .solvers.gramians import equalising, unit

UNEQUAL = 1e-6
"""Relative difference between projections that are not equal."""


class IMTLG(Weighting):
    """The update has the same projection on every task's gradient direction."""

    def weights(self, gramian: Tensor, step: Step) -> Tensor:
        return impartial(gramian)


def impartial(gramian: Tensor) -> Tensor:
    """The weights alpha (T,) for K (T, T).

    Raises:
        Unsolvable: only the update 0 has equal projections, or the weights that give them sum to 0.
    """
    cos, norms = unit(gramian)
    along = equalising(cos)
    if (cos @ along - 1).abs().max() > UNEQUAL:
        raise Unsolvable("only the update 0 has the same projection on every task's gradient")
    found = along / norms
    total = found.sum()
    if total.abs() <= 8 * len(found) * torch.finfo(found.dtype).eps * found.abs().sum():
        raise Unsolvable("the weights of equal projections sum to 0")
    return found / total
