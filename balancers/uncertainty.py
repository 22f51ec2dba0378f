"""Uncertainty weighting (UW).

Kendall, Gal, Cipolla: Multi-Task Learning Using Uncertainty to Weigh Losses for Scene Geometry and Semantics,
CVPR 2018.

With a learned s_i = log sigma_i^2 per task, or sigma_i itself:

    a:  total = sum_i exp(-s_i) L_i / 2 + s_i / 2
    b:  total = sum_i exp(-s_i) L_i + s_i / 2
    c:  total = sum_i L_i / (2 sigma_i^2) + ln(1 + sigma_i^2)

The paper has the first term of `a` for regression losses and of `b` for classification losses; code in use
has one of them for every task: `a` is that of MTAN, LibMTL, TorchJD and nash-mtl, `b` that of SamsungLabs.
`c` (Liebel, Koerner: Auxiliary Tasks in Multi-task Learning, 2018) keeps the total positive.

Departures: s starts at 0 (TorchJD, nash-mtl, SamsungLabs; LibMTL and MTAN: -0.5) and is trained by an Adam of
its own with lr 0.025 (nash-mtl) and without weight decay; under the network's learning rate, as in LibMTL, s
hardly moves.
"""

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from mtlbench.balancing import Scalarization, Step
from mtlbench.search.spaces import Range, domains
from mtlbench.tasks import Tasks

from ._options import require_choice, require_positive

Variant = Literal["a", "b", "c"]
SMALLEST = 1e-12
"""Added to sigma^2 in `c`, so that the weight stays finite when sigma comes to 0."""


class Uncertainty(Scalarization):
    """Losses weigh by a learned uncertainty per task.

    Args:
        variant: the formula (see the module): `a` halves weights exp(-s), `b` doesn't, `c` learns sigma.
        init: at the start, s for `a` and `b` (None: 0), sigma > 0 for `c` (None: 1).
        lr: learning rate of s or sigma, > 0.
    """

    # From the network's learning rate of LibMTL to ten times nash-mtl's.
    search_space = domains(lr=Range(1e-4, 0.25, log=True))
    linear = True
    per_task = ("log_variance", "sigma")

    def __init__(
        self, tasks: Tasks, *, variant: Variant = "a", init: float | None = None, lr: float = 0.025
    ) -> None:
        super().__init__(tasks)
        require_choice("uncertainty", "variant", variant, get_args(Variant))
        require_positive("uncertainty", lr=lr)
        self.variant = variant
        self.lr = lr
        if variant == "c":
            start = 1.0 if init is None else init
            require_positive("uncertainty", init=start)
            self.sigma = nn.Parameter(torch.full((len(tasks),), float(start)))
        else:
            self.log_variance = nn.Parameter(torch.full((len(tasks),), float(init or 0.0)))

    def total(self, losses: Tensor, step: Step) -> Tensor:
        if self.variant == "c":
            variance = self.sigma[step.active] ** 2
            return (losses / (2 * (variance + SMALLEST)) + torch.log1p(variance)).sum()
        s = self.log_variance[step.active]
        weights = (-s).exp() / 2 if self.variant == "a" else (-s).exp()
        return (weights * losses + s / 2).sum()
