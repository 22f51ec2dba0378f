"""Multi-objective gradient with double sampling (MoDo).

Chen, Fernando, Ying, Chen: Three-Way Trade-Off in Multi-Objective Learning: Optimization, Generalization and
Conflict-Avoidance, NeurIPS 2023 / JMLR 2024.

With the task gradients J1, J2 of two independent batches, and the projection onto the simplex:

    lambda <- projection(lambda - gamma (J1 J2^T + rho I) lambda)

lambda starts at 1 / T and weighs the task gradients of a third batch, as LibMTL has it. A task that is left
out of a step keeps its lambda; those that take part are brought to the sum 1.
"""

import torch
from torch import Tensor

from mtlbench.balancing import CrossWeighting, Step
from mtlbench.errors import MtlbenchError
from mtlbench.search.spaces import Range, domains
from mtlbench.tasks import Tasks

from ._options import require_positive
from .solvers.simplex import project_to_simplex


class MoDo(CrossWeighting):
    """The common descent direction, without the bias of one batch; takes three batches a step.

    Args:
        gamma: step size of the weights, > 0.
        rho: pulls the weights together, >= 0.
    """

    # A decade or two around the published values.
    search_space = domains(gamma=Range(1e-4, 0.1, log=True), rho=Range(0.01, 1, log=True))
    per_task = ("preference",)
    preference: Tensor

    def __init__(self, tasks: Tasks, *, gamma: float = 0.001, rho: float = 0.1) -> None:
        super().__init__(tasks)
        require_positive("modo", gamma=gamma)
        if not rho >= 0:
            raise MtlbenchError(f"`rho` of balancer `modo` must be >= 0, got {rho}")
        self.gamma = gamma
        self.rho = rho
        start = torch.full((len(tasks),), 1 / len(tasks), dtype=torch.float64)
        self.register_buffer("preference", start)

    def weights(self, cross: Tensor, step: Step) -> Tensor:
        old = self.preference[step.active].cpu()
        new = project_to_simplex(old - self.gamma * (cross @ old + self.rho * old))
        self.preference[step.active] = new.to(self.preference)
        return new
