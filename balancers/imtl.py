"""Impartial multi-task learning, losses and gradients (IMTL, in tables also IMTL-H).

Liu, Li, Kuang, Xue, Chen, Yang, Liao, Zhang: Towards Impartial Multi-task Learning, ICLR 2021, algorithm 1.

With a learned s_i per task, task losses become L'_i = exp(s_i) L_i - s_i (IMTL-L), and IMTL-G weighs their
gradients: shared parameters get sum_i alpha_i exp(s_i) g_i, the own parameters of task i exp(s_i) times their
gradient, and s_i gets exp(s_i) L_i - 1.

Task gradients are taken at the representation, as in the paper; LibMTL takes them at the shared parameters by
default. s starts at 0 and has an Adam of its own with lr 0.025, as in this package's other balancers with
learned loss weights; LibMTL trains s with the network's optimizer, under whose learning rate it hardly moves.
Between two solves (`every`), s rests.
"""

from typing import Any

import torch
from torch import Tensor, nn

from mtlbench.balancing import Place, Step, Weighting
from mtlbench.search.spaces import Range, domains
from mtlbench.tasks import Tasks

from ._options import require_positive
from .imtl_g import impartial


class IMTL(Weighting):
    """Learned loss scales, then an update with the same projection on every task's gradient direction.

    Args:
        at: where task gradients are taken.
        lr: learning rate of s, > 0.
    """

    # From the network's learning rate of LibMTL to ten times the default.
    search_space = domains(lr=Range(1e-4, 0.25, log=True))
    per_task = ("log_scale", "scale")
    scale: Tensor

    def __init__(
        self, tasks: Tasks, *, at: Place = "representation", lr: float = 0.025, **common: Any
    ) -> None:
        super().__init__(tasks, at=at, **common)
        require_positive("imtl", lr=lr)
        self.lr = lr
        self.log_scale = nn.Parameter(torch.zeros(len(tasks), dtype=torch.float64))
        self.register_buffer("scale", torch.ones(len(tasks), dtype=torch.float64))  # as last used

    def weights(self, gramian: Tensor, step: Step) -> Tensor:
        self.scale = self.log_scale.detach().exp()
        scale = self.scale[step.active]
        grad = torch.zeros_like(self.scale)
        grad[step.active] = scale * step.losses - 1
        self.log_scale.grad = grad
        return scale * impartial(torch.outer(scale, scale) * gramian)

    def own_weights(self, step: Step) -> Tensor:
        return self.scale[step.active]
