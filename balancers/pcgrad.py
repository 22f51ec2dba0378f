"""Projecting conflicting gradients (PCGrad).

Yu, Kumar, Gupta, Levine, Hausman, Finn: Gradient Surgery for Multi-Task Learning, NeurIPS 2020, algorithm 1.

For each task i, h starts at g_i; for the other tasks j in random order: where h . g_j < 0,

    h <- h - (h . g_j) / |g_j|^2 g_j

and the update is the sum of all h. With h = c^T G, h . g_j = (K c)_j, so that only the Gramian K is needed:

    (K c)_j < 0   =>   c_j <- c_j - (K c)_j / K_jj

As in the paper (and TorchJD), a task doesn't visit itself; LibMTL and the authors' code let it, which changes
the result for three tasks or more.
"""

import torch
from torch import Tensor

from mtlbench.balancing import Step, Weighting


class PCGrad(Weighting):
    """Gradients lose the part that opposes another task's gradient."""

    def weights(self, gramian: Tensor, step: Step) -> Tensor:
        num_tasks = len(gramian)
        orders = [torch.randperm(num_tasks, generator=step.generator).tolist() for _ in range(num_tasks)]
        return project(gramian, orders)


def project(gramian: Tensor, orders: list[list[int]]) -> Tensor:
    """Weights (T,) for K (T, T), where task i visits the others in the order `orders[i]`."""
    coefficients = torch.eye(len(gramian), dtype=gramian.dtype)
    for i, c in enumerate(coefficients):
        for j in orders[i]:
            overlap = gramian[j] @ c
            if j != i and overlap < 0:
                c[j] -= overlap / gramian[j, j]
    return coefficients.sum(0)
