"""Projection of the mean gradient onto the dual cone (DualProj).

Lopez-Paz, Ranzato: Gradient Episodic Memory for Continual Learning, NeurIPS 2017, whose projection serves
several tasks as in Quinton, Rey: Jacobian Descent for Multi-Objective Optimization, 2024, and TorchJD.

With preferences p (1/T each), the weights are

    argmin_v v^T K~ v   where v >= p,   K~ = K / tr K + reg_eps I

G^T v is then the vector nearest to the preferred combination G^T p that opposes no task gradient, up to
reg_eps. Solved exactly. As in TorchJD and LibMTL, K~ = reg_eps I where tr K < norm_eps, which makes the
weights p for gradients that small; 0 turns this off.
"""

import math
from typing import Any

import torch
from torch import Tensor

from mtlbench.balancing import Step, Weighting
from mtlbench.errors import MtlbenchError
from mtlbench.tasks import Tasks

from ._options import values_by_task
from .solvers.cone import lower_bounded


class DualProj(Weighting):
    """The mean gradient loses what opposes task gradients.

    Args:
        preference: how much each task counts in the mean, > 0; 1 for a task not named. Only ratios matter.
        norm_eps: >= 0; below this sum of squared gradient norms the mean gradient is left as it is.
        reg_eps: >= 0; added to the diagonal of the inner products, in units of that sum.
    """

    preferences: Tensor

    def __init__(
        self,
        tasks: Tasks,
        *,
        preference: dict[str, float] | None = None,
        norm_eps: float = 1e-4,
        reg_eps: float = 1e-4,
        **common: Any,
    ) -> None:
        super().__init__(tasks, **common)
        name = type(self).__name__.lower()
        for option, value in (("norm_eps", norm_eps), ("reg_eps", reg_eps)):
            if not 0 <= value < math.inf:
                raise MtlbenchError(f"`{option}` of balancer `{name}` must be >= 0, got {value}")
        for task, value in (preference or {}).items():
            if not 0 < value < math.inf:
                raise MtlbenchError(f"`preference` of balancer `{name}` must be > 0, got {value} for {task}")
        preferences = values_by_task(name, "preference", tasks, preference, 1.0)
        self.register_buffer("preferences", preferences, persistent=False)
        self.norm_eps = norm_eps
        self.reg_eps = reg_eps

    def weights(self, gramian: Tensor, step: Step) -> Tensor:
        return lower_bounded(self.regularized(gramian), self.preferred(step)[:, None])[:, 0]

    def preferred(self, step: Step) -> Tensor:
        """The p (T,) of the active tasks."""
        part = self.preferences[step.active]
        return part / part.sum()

    def regularized(self, gramian: Tensor) -> Tensor:
        """K~ (T, T)."""
        trace = gramian.trace()
        scaled = gramian / trace if trace >= self.norm_eps else torch.zeros_like(gramian)
        return scaled + self.reg_eps * torch.eye(len(gramian), dtype=gramian.dtype)
