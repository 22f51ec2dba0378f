"""Multi-objective gradient with correction (MoCo).

Fernando, Shen, Liu, Chaudhury, Murugesan, Chen: Mitigating Gradient Bias in Multi-objective Learning: A
Provably Convergent Approach, ICLR 2023.

Tracked gradients y and weights lambda, at steps k = 1, 2, ...:

    g_i = L_i times the unit gradient of task i
    y_i <- y_i - b_k (y_i - g_i),                               b_k = beta / k^beta_decay
    lambda <- softmax(lambda - c_k (y y^T + rho I) lambda),     c_k = gamma / k^gamma_decay
    update = sum_i lambda_i y_i

As in LibMTL: gradients are scaled to the loss, and a softmax takes the place of the paper's projection onto
the simplex. y starts at 0 and lambda at 1 / T. A task that is left out of a step keeps its y and lambda.
"""

import torch
from torch import Tensor

from mtlbench.balancing import Aggregation, Step
from mtlbench.errors import MtlbenchError
from mtlbench.search.spaces import Range, domains
from mtlbench.tasks import Tasks

from ._options import require_positive
from ._rows import of_active, state_of_rows


class MoCo(Aggregation):
    """The common descent direction of gradients that are tracked over the steps.

    Args:
        beta: step size of the tracked gradients, > 0.
        beta_decay: how fast it falls with the steps, >= 0.
        gamma: step size of the weights, > 0.
        gamma_decay: how fast it falls with the steps, >= 0.
        rho: pulls the weights together, >= 0.
    """

    # A decade below and above the published values, up to 1.
    search_space = domains(beta=Range(0.05, 1, log=True), gamma=Range(0.01, 1, log=True))
    per_task = ("tracked", "preference")
    tracked: Tensor
    preference: Tensor

    def __init__(
        self,
        tasks: Tasks,
        *,
        beta: float = 0.5,
        beta_decay: float = 0.5,
        gamma: float = 0.1,
        gamma_decay: float = 0.5,
        rho: float = 0.0,
    ) -> None:
        super().__init__(tasks)
        require_positive("moco", beta=beta, gamma=gamma)
        for name, value in (("beta_decay", beta_decay), ("gamma_decay", gamma_decay), ("rho", rho)):
            if not value >= 0:
                raise MtlbenchError(f"`{name}` of balancer `moco` must be >= 0, got {value}")
        self.beta, self.beta_decay = beta, beta_decay
        self.gamma, self.gamma_decay = gamma, gamma_decay
        self.rho = rho
        self.register_buffer("tracked", torch.zeros(len(tasks), 0))
        self.register_buffer("preference", torch.full((len(tasks),), 1 / len(tasks), dtype=torch.float64))

    def combine(self, rows: Tensor, step: Step) -> Tensor:
        share = self.beta / (step.index + 1) ** self.beta_decay
        pace = self.gamma / (step.index + 1) ** self.gamma_decay
        norms = torch.linalg.vector_norm(rows, dim=1)
        rows *= torch.where(norms > 0, step.losses.to(rows) / norms, 0)[:, None]
        state = state_of_rows(self, "tracked", len(self.task_names), rows)
        for task, row in zip(step.active.tolist(), rows, strict=True):
            state[task].lerp_(row.to(state), share)
        y = of_active(state, step.active)
        active = step.active.to(self.preference.device)
        weights = self.preference[active]
        slope = (y @ y.T).to(weights) @ weights + self.rho * weights
        weights = torch.softmax(weights - pace * slope, dim=0)
        self.preference[active] = weights
        return weights.to(y) @ y
