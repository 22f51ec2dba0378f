"""Nash bargaining between tasks (Nash-MTL).

Navon, Shamsian, Achituve, Maron, Kawaguchi, Chechik, Fetaya: Multi-Task Learning as a Bargaining Game,
ICML 2022, algorithm 1.

The weights alpha > 0 with

    (K alpha)_i = 1 / alpha_i

They are unique, and are found by Newton's method to rounding error. There are none where a convex combination
of the task gradients is zero (two opposite gradients, say).

alpha^T K alpha = T: the update has the length sqrt(T) whatever the gradients, so that the authors' clipping
to `max_norm` 1 always acts and leaves updates of length 1. As in their code and LibMTL, a task's own
parameters are weighted by alpha too, without the clipping.

Departures: both of them solve 20 linearised problems with a general solver, which stops early, without a word
and with the weights of the step before, for conflicting or badly scaled gradients. Between two solves
(`every`, their update_weights_every) they keep alpha but clip anew in every step; here the clipped weights
are kept.
"""

from typing import Any

import torch
from torch import Tensor

from mtlbench.balancing import Step, Weighting
from mtlbench.errors import MtlbenchError
from mtlbench.tasks import Tasks

from .solvers.newton import fair_weights


class NashMTL(Weighting):
    """The update that maximises the product of what all tasks gain.

    Args:
        max_norm: longest update of the shared parameters, >= 0; 0 or None leaves it its length, sqrt(T).
        weigh_own: whether alpha weighs each task's own parameters, too.
    """

    per_task = ("alpha",)
    alpha: Tensor

    def __init__(
        self, tasks: Tasks, *, max_norm: float | None = 1.0, weigh_own: bool = True, **common: Any
    ) -> None:
        super().__init__(tasks, **common)
        self.max_norm = max_norm or 0.0
        if not self.max_norm >= 0:
            raise MtlbenchError(f"`max_norm` of balancer `nash_mtl` must be >= 0, got {max_norm}")
        self.weigh_own = weigh_own
        self.register_buffer("alpha", torch.ones(len(tasks), dtype=torch.float64))

    def weights(self, gramian: Tensor, step: Step) -> Tensor:
        alpha = fair_weights(gramian, 1.0)
        self.alpha[step.active] = alpha
        norm = len(alpha) ** 0.5
        return alpha * min(1.0, self.max_norm / norm) if self.max_norm else alpha

    def own_weights(self, step: Step) -> Tensor | None:
        return self.alpha[step.active] if self.weigh_own else None
