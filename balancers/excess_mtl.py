"""Robust multi-task learning with excess risks (ExcessMTL).

He, Zhou, Zhang, Yun, Xu, Zeng, Chilimbi, Zhao: Robust Multi-Task Learning with Excess Risks, ICML 2024,
equations 6, 7 and 9.

The excess risk of a task, from its gradient and a diagonal estimate of the curvature, drives its weight:

    S_i <- S_i + g_i^2,   e_i = sum over the parameters of g_i^2 / sqrt(S_i + 1e-7)
    w_i <- w_i exp(eta e_i / (e_i0 + 1e-7)) / Z,   update = sum_i w_i g_i

e_i0 is a task's first e_i. `variant` says by whose code: `libmtl` begins with w = 1, moves w from the second
step on, lets w sum to the number of tasks and weighs the tasks' own parameters by w, too; `torchjd` begins
with 1 / T, moves w in the first step by the bare e_i, and lets w sum to 1. S needs as much memory as the task
gradients. A task that is left out of a step keeps its S and w.
"""

import math
from typing import Literal

import torch
from torch import Tensor

from mtlbench.balancing import Aggregation, Step
from mtlbench.search.spaces import Range, domains
from mtlbench.tasks import Tasks

from ._options import require_choice, require_positive
from ._rows import state_of_rows

EPSILON = 1e-7


class ExcessMTL(Aggregation):
    """Tasks that are far from their optimum weigh more, noisy ones don't.

    Args:
        step_size: of the weights, > 0.
        variant: whose code is followed; see above.
    """

    # With the defaults of LibMTL (0.01) and TorchJD (1).
    search_space = domains(step_size=Range(0.001, 1, log=True))
    per_task = ("squares", "first", "log_weights")
    squares: Tensor
    first: Tensor
    log_weights: Tensor

    def __init__(
        self, tasks: Tasks, *, step_size: float = 0.01, variant: Literal["libmtl", "torchjd"] = "libmtl"
    ) -> None:
        super().__init__(tasks)
        require_positive("excess_mtl", step_size=step_size)
        require_choice("excess_mtl", "variant", variant, ("libmtl", "torchjd"))
        self.step_size = step_size
        self.variant = variant
        self.register_buffer("squares", torch.zeros(len(tasks), 0))
        self.register_buffer("first", torch.full((len(tasks),), torch.nan, dtype=torch.float64))
        self.register_buffer("log_weights", torch.zeros(len(tasks), dtype=torch.float64))

    def combine(self, rows: Tensor, step: Step) -> Tensor:
        active = step.active.to(self.first.device)
        excess = self._excess(rows, step.active).to(self.first)
        first = self.first[active]
        new = first.isnan()
        growth = torch.where(new, excess if self.variant == "torchjd" else 0.0, excess / (first + EPSILON))
        self.first[active] = torch.where(new, excess, first)
        self.log_weights[active] += self.step_size * growth
        self.log_weights -= self.log_weights.logsumexp(0) - math.log(len(self.log_weights))
        return self._weights(active).to(rows) @ rows

    def own_weights(self, step: Step) -> Tensor | None:
        return self._weights(step.active.to(self.first.device)) if self.variant == "libmtl" else None

    def _weights(self, active: Tensor) -> Tensor:
        weights = self.log_weights.exp()
        return (weights if self.variant == "libmtl" else weights / len(weights))[active]

    def _excess(self, rows: Tensor, active: Tensor) -> Tensor:
        """Excess risks e (T,); one task after the other, to need little memory."""
        state = state_of_rows(self, "squares", len(self.task_names), rows)
        found = []
        for task, row in zip(active.tolist(), rows, strict=True):
            square = row.to(state).square()
            root = state[task].add_(square).add(EPSILON).sqrt_()
            found.append(square.div_(root).sum())
        return torch.stack(found)
