"""Uncertainty weighting (UW).

Kendall, Gal, Cipolla: Multi-Task Learning Using Uncertainty to Weigh Losses for Scene Geometry and Semantics,
    CVPR 2018.

A learned s_i = log sigma_i^2 per task:

    total = sum_i exp(-s_i) L_i / 2 + s_i / 2

Departures: the paper halves the first term of regression losses only; all code in use (MTAN, LibMTL, TorchJD,
    nash-mtl)
halves it for every task, and so do we. s starts at 0 (TorchJD, nash-mtl; LibMTL and MTAN start at -0.5) and
is trained by an Adam of its own with lr 0.025 (nash-mtl); under the network's learning rate, as in LibMTL, s
hardly moves.
"""

import torch
from torch import Tensor, nn

from mtlbench.balancing import Scalarization, Step
from mtlbench.errors import MtlbenchError
from mtlbench.tasks import Tasks


class Uncertainty(Scalarization):
    """Losses weigh exp(-s) / 2 with a learned s per task.

    Args:
        init: s at the start.
        lr: learning rate of s, > 0.
    """

    per_task = ("log_variance",)

    def __init__(self, tasks: Tasks, *, init: float = 0.0, lr: float = 0.025) -> None:
        super().__init__(tasks)
        if not lr > 0:
            raise MtlbenchError(f"`lr` of balancer `uncertainty` must be > 0, got {lr}")
        self.lr = lr
        self.log_variance = nn.Parameter(torch.full((len(tasks),), float(init)))

    def total(self, losses: Tensor, step: Step) -> Tensor:
        s = self.log_variance[step.active]
        return ((-s).exp() * losses + s).sum() / 2
