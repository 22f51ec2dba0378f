"""Impartial multi-task learning, loss balance (IMTL-L).

Liu, Li, Kuang, Xue, Chen, Yang, Liao, Zhang: Towards Impartial Multi-task Learning, ICLR 2021.

With a learned s_i per task:

    total = sum_i exp(s_i) L_i - s_i

At rest exp(s_i) = 1 / L_i, so that all weighted losses are 1. It is uncertainty weighting with the sign of s
turned, times two. s starts at 0.

Departure: s is trained by an Adam of its own with lr 0.025 and without weight decay; LibMTL trains it with
the network's optimizer.
"""

import torch
from torch import Tensor, nn

from mtlbench.balancing import Scalarization, Step
from mtlbench.search.spaces import Range, domains
from mtlbench.tasks import Tasks

from ._options import require_positive


class IMTLL(Scalarization):
    """Losses weigh by a learned scale that makes all of them equal.

    Args:
        init: s at the start.
        lr: learning rate of s, > 0.
    """

    # From the network's learning rate of LibMTL to ten times the default.
    search_space = domains(lr=Range(1e-4, 0.25, log=True))
    linear = True
    per_task = ("log_scale",)

    def __init__(self, tasks: Tasks, *, init: float = 0.0, lr: float = 0.025) -> None:
        super().__init__(tasks)
        require_positive("imtl_l", lr=lr)
        self.lr = lr
        self.log_scale = nn.Parameter(torch.full((len(tasks),), float(init)))

    def total(self, losses: Tensor, step: Step) -> Tensor:
        s = self.log_scale[step.active]
        return (s.exp() * losses - s).sum()
