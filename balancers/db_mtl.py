"""Dual-balancing multi-task learning (DB-MTL).

Lin, Jiang, Ye, Zhang, Chen, Chen, Liu, Kwok: Dual-Balancing for Multi-Task Learning, arXiv 2308.12029.

Gradients of the logarithm of each loss are averaged over steps k = 1, 2, ... and brought to the largest norm:

    g_i = gradient of ln(L_i + 1e-8),   b_k = beta / k^sigma
    m_i <- b_k m_i + (1 - b_k) g_i,     update = sum_i max_j |m_j| / (|m_i| + 1e-8) m_i

m starts at 0, without correction of that bias, as in LibMTL. A task's own parameters descend ln(L_i + 1e-8).
A task that is left out of a step keeps its average.
"""

import torch
from torch import Tensor

from mtlbench.balancing import Aggregation, Step
from mtlbench.errors import MtlbenchError
from mtlbench.search.spaces import Range, domains
from mtlbench.tasks import Tasks

from ._rows import of_active, state_of_rows

EPSILON = 1e-8


class DBMTL(Aggregation):
    """Averaged gradients of log losses, all scaled to the largest norm.

    Args:
        beta: share of the average that is kept at the first step, >= 0 and < 1; 0 keeps no average.
        sigma: how fast that share falls with the steps, >= 0.
    """

    # From no average at all to one over twenty steps.
    search_space = domains(beta=Range(0, 0.95), sigma=Range(0, 1))
    per_task = ("momentum",)
    momentum: Tensor

    def __init__(self, tasks: Tasks, *, beta: float = 0.9, sigma: float = 0.0) -> None:
        super().__init__(tasks)
        if not 0 <= beta < 1:
            raise MtlbenchError(f"`beta` of balancer `db_mtl` must be >= 0 and < 1, got {beta}")
        if not sigma >= 0:
            raise MtlbenchError(f"`sigma` of balancer `db_mtl` must be >= 0, got {sigma}")
        self.beta = beta
        self.sigma = sigma
        self.register_buffer("momentum", torch.zeros(len(tasks), 0))

    def combine(self, rows: Tensor, step: Step) -> Tensor:
        rows *= _slopes(step.losses).to(rows)[:, None]
        if self.beta > 0:
            kept = self.beta / (step.index + 1) ** self.sigma
            state = state_of_rows(self, "momentum", len(self.task_names), rows)
            for task, row in zip(step.active.tolist(), rows, strict=True):
                state[task].mul_(kept).add_(row, alpha=1 - kept)
            rows = of_active(state, step.active)
        norms = torch.linalg.vector_norm(rows, dim=1)
        return (norms.max() / (norms + EPSILON)) @ rows

    def own_weights(self, step: Step) -> Tensor:
        return _slopes(step.losses)


def _slopes(losses: Tensor) -> Tensor:
    """The slope of ln(L + 1e-8)."""
    return 1 / (losses + EPSILON)
