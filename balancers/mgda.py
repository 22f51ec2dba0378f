"""Multiple gradient descent algorithm (MGDA).

Désidéri: Multiple-gradient descent algorithm (MGDA) for multiobjective optimization, Comptes Rendus
Mathematique 2012. Sener, Koltun: Multi-Task Learning as Multi-Objective Optimization, NeurIPS 2018.

With normalisers s_i (1, the gradient's norm n_i, the loss L_i, or n_i L_i):

    min_alpha |sum_i alpha_i g_i / s_i|^2   where alpha >= 0, sum alpha = 1

solved exactly; published solvers stop within 1e-2 of it (Frank-Wolfe), or never reach a vertex. The update
is sum_i alpha_i g_i / s_i, as in LibMTL at parameters; with `combine` "raw" it is sum_i alpha_i g_i, as in
LibMTL at the representation and in the authors' code. Only the former surely descends all tasks. The
parameters of a single task keep the weight 1, as in the paper; the authors' code weighs them, too.
"""

from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor

from mtlbench.balancing import Step, Unsolvable, Weighting
from mtlbench.search.spaces import OneOf, domains
from mtlbench.tasks import Tasks

from ._options import require_choice
from .solvers.simplex import min_norm

Normalize = Literal["none", "l2", "loss", "loss+"]
Combine = Literal["normalized", "raw"]


class MGDA(Weighting):
    """The shortest convex combination of task gradients.

    Args:
        normalize: what task gradients are divided by first: nothing, their norm, their loss, or both.
        combine: whether the normalized or the raw gradients are combined.
    """

    # All that the authors' code has.
    search_space = domains(normalize=OneOf(get_args(Normalize)))
    name: ClassVar[str] = "mgda"

    def __init__(
        self,
        tasks: Tasks,
        *,
        normalize: Normalize = "none",
        combine: Combine = "normalized",
        **common: Any,
    ) -> None:
        super().__init__(tasks, **common)
        require_choice(self.name, "normalize", normalize, get_args(Normalize))
        require_choice(self.name, "combine", combine, get_args(Combine))
        self.normalize = normalize
        self.combine = combine

    def weights(self, gramian: Tensor, step: Step) -> Tensor:
        scale = torch.ones_like(step.losses)
        if self.normalize in ("l2", "loss+"):
            scale = scale * gramian.diagonal().sqrt()
        if self.normalize in ("loss", "loss+"):
            if not (step.losses > 0).all():
                raise Unsolvable(f"normalising by losses needs losses > 0, found {step.losses.tolist()}")
            scale = scale * step.losses
        found = min_norm(gramian / scale / scale[:, None])
        return found / scale if self.combine == "normalized" else found
