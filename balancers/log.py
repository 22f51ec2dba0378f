"""The sum of log losses ("scale-invariant").

    log:    total = sum_i ln L_i        weights 1 / L_i
    log1p:  total = sum_i ln(1 + L_i)   weights 1 / (1 + L_i)

`log` is the scale-invariant baseline of nash-mtl: a factor on a loss changes nothing. It is uncertainty
weighting with s at rest. `log1p` is what SamsungLabs/MTL calls by the same name; it does depend on the scale.

A loss of zero, or below the smallest normal number, has weight 0 under `log`.
"""

from typing import Literal, get_args

import torch
from torch import Tensor

from mtlbench.balancing import Scalarization, Step
from mtlbench.tasks import Tasks

from ._options import require_choice

Form = Literal["log", "log1p"]


class Log(Scalarization):
    """Losses weigh by their inverse.

    Args:
        form: `log` for ln L, `log1p` for ln(1 + L).
    """

    def __init__(self, tasks: Tasks, *, form: Form = "log") -> None:
        super().__init__(tasks)
        require_choice("log", "form", form, get_args(Form))
        self.form = form

    def total(self, losses: Tensor, step: Step) -> Tensor:
        if self.form == "log1p":
            return losses.log1p().sum()
        return losses.clamp(min=torch.finfo(losses.dtype).tiny).log().sum()
