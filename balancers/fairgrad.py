"""Fair resource allocation between tasks (FairGrad).

Ban, Ji: Fair Resource Allocation in Multi-Task Learning, ICML 2024, algorithm 1.

The weights w > 0 with

    (K w)_i = w_i^(-1/alpha)

They are unique, and are found by Newton's method to rounding error; the published code runs a general
least-squares solver with its default tolerances, which are absolute. There are none where a convex
combination of the task gradients is zero. alpha = 1 (the default of the published code; its Cityscapes script
takes 2) is Nash-MTL without clipping.

As in LibMTL, a task's own parameters are weighted by w, too, and nothing is clipped. The authors' code leaves
those unweighted (`weigh_own: false`), multiplies the update by T and clips it to length 1.
"""

from typing import Any

import torch
from torch import Tensor

from mtlbench.balancing import Step, Weighting
from mtlbench.errors import MtlbenchError
from mtlbench.search.spaces import Range, domains
from mtlbench.tasks import Tasks

from .solvers.newton import fair_weights


class FairGrad(Weighting):
    """The update that is alpha-fair to what all tasks gain.

    Args:
        alpha: > 0; 1 is proportional fairness; the larger, the more the least gain counts.
        weigh_own: whether each task's own parameters are weighted, too.
    """

    # Around the published 1 and 2, towards max-min fairness.
    search_space = domains(alpha=Range(0.5, 10, log=True))
    per_task = ("found",)
    found: Tensor

    def __init__(self, tasks: Tasks, *, alpha: float = 1.0, weigh_own: bool = True, **common: Any) -> None:
        super().__init__(tasks, **common)
        if not 0 < alpha < float("inf"):
            raise MtlbenchError(f"`alpha` of balancer `fairgrad` must be > 0 and finite, got {alpha}")
        self.alpha = alpha
        self.weigh_own = weigh_own
        self.register_buffer("found", torch.ones(len(tasks), dtype=torch.float64))

    def weights(self, gramian: Tensor, step: Step) -> Tensor:
        found = fair_weights(gramian, self.alpha)
        self.found[step.active] = found
        return found

    def own_weights(self, step: Step) -> Tensor | None:
        return self.found[step.active] if self.weigh_own else None
