"""Projecting conflicting gradients (PCGrad).

Yu, Kumar, Gupta, Levine, Hausman, Finn: Gradient Surgery for Multi-Task Learning, NeurIPS 2020, algorithm 1.

For each task i, h starts at g_i; for the other tasks j in random order: where h . g_j < 0,

    h <- h - (h . g_j) / |g_j|^2 g_j

and the update is the sum of all h. With h = c^T G, h . g_j = (K c)_j, so that only the Gramian K is needed:

    (K c)_j < 0   =>   c_j <- c_j - (K c)_j / K_jj

As in the paper (and TorchJD), a task doesn't visit itself; with `self_visit` it does, as in LibMTL and the
authors' code, which changes the result for three tasks or more: after two projections h may oppose g_i
itself. LibMTL adds 1e-8 to |g_j|^2, which distorts small gradients; we don't.
"""

from typing import Any

import torch
from torch import Tensor

from mtlbench.balancing import Step, Weighting
from mtlbench.tasks import Tasks


class PCGrad(Weighting):
    """Gradients lose the part that opposes another task's gradient.

    Args:
        self_visit: whether the projections for a task include one against its own gradient.
    """

    def __init__(self, tasks: Tasks, *, self_visit: bool = False, **common: Any) -> None:
        super().__init__(tasks, **common)
        self.self_visit = self_visit

    def weights(self, gramian: Tensor, step: Step) -> Tensor:
        return project(gramian, random_orders(len(gramian), step.generator), self.self_visit)


def project(gramian: Tensor, orders: Tensor, self_visit: bool = False) -> Tensor:
    """Weights (T,) for K (T, T), where task i visits the others in the order `orders[i]` (T, T)."""
    coefficients = torch.eye(len(gramian), dtype=gramian.dtype)
    tasks = torch.arange(len(gramian))
    for visited in orders.T:  # one for each task
        overlap = (coefficients * gramian[visited]).sum(1)
        conflict = (overlap < 0) & ((visited != tasks) | self_visit)
        coefficients[tasks, visited] -= torch.where(conflict, overlap / gramian.diagonal()[visited], 0.0)
    return coefficients.sum(0)


def random_orders(count: int, generator: torch.Generator) -> Tensor:
    """An order of all tasks for each task, (T, T)."""
    return torch.stack([torch.randperm(count, generator=generator) for _ in range(count)])
