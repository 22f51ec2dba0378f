"""Aligning the principal components of task gradients (Aligned-MTL).

Senushkin, Patakin, Kuznetsov, Konushin: Independent Component Alignment for Multi-Task Learning, CVPR 2023,
algorithm 1. Aligned-MTL-UB, the upper bound of the same paper, is `at: representation`.

With K = V diag(lambda) V^T, its r eigenvalues that are not zero in falling order, and p = 1:

    w = B p,   B = sqrt(lambda_r) V diag(lambda)^(-1/2) V^T

The gradients B^T G then are orthogonal and of one length (B K B = lambda_r times a projection). `scale` puts
another statistic in the place of lambda_r, as TorchJD offers; `reduction` "mean" is p = 1/T (TorchJD).

Departures: which eigenvalues are zero is decided after all gradients are scaled to length 1; the published
code compares with the largest eigenvalue and leaves out tasks whose gradient is 1e-8 of the largest.
Eigenvalues are squares of singular values of a factor of K, which keeps twice the digits. Weights may be
negative.
"""

from typing import Any, Literal, get_args

import torch
from torch import Tensor

from mtlbench.balancing import Step, Weighting
from mtlbench.search.spaces import OneOf, domains
from mtlbench.tasks import Tasks

from ._options import require_choice
from .solvers.gramians import spectrum, unit

Scale = Literal["min", "median", "rmse"]
Reduction = Literal["sum", "mean"]


class AlignedMTL(Weighting):
    """Gradients are turned into orthogonal ones of one length, and added.

    Args:
        scale: their squared length: the smallest, the (lower) median or the mean eigenvalue.
        reduction: whether gradients are added, or averaged over tasks.
    """

    # All that TorchJD offers.
    search_space = domains(scale=OneOf(get_args(Scale)))

    def __init__(
        self, tasks: Tasks, *, scale: Scale = "min", reduction: Reduction = "sum", **common: Any
    ) -> None:
        super().__init__(tasks, **common)
        require_choice("aligned_mtl", "scale", scale, get_args(Scale))
        require_choice("aligned_mtl", "reduction", reduction, get_args(Reduction))
        self.scale = scale
        self.reduction = reduction

    def weights(self, gramian: Tensor, step: Step) -> Tensor:
        singular, right = _factor(gramian)
        size = {
            "min": singular[-1],
            "median": singular.median(),
            "rmse": singular.square().mean().sqrt(),
        }[self.scale]
        weights = size * (right.T @ (right.sum(1) / singular))
        return weights / len(weights) if self.reduction == "mean" else weights


def _factor(gramian: Tensor) -> tuple[Tensor, Tensor]:
    """Roots of the eigenvalues of K that are not zero, falling (r,); eigenvectors as rows (r, T)."""
    cos, norms = unit(gramian)
    values, vectors = spectrum(cos)
    factor = values.sqrt()[:, None] * vectors.T * norms  # K = factor^T factor
    _, singular, right = torch.linalg.svd(factor, full_matrices=False)
    return singular, right
