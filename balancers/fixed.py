"""Fixed weights.

    total = sum_i w_i L_i

Without weights given: those of the published recipes for dense prediction (semseg 1, human_parts 2, sal 5,
    edge 50,
normals 10, depth 1; ATRC, MTI-Net, InvPT, DeMT, DeGMix, MTLoRA).
"""

import torch
from torch import Tensor

from mtlbench.balancing import Scalarization, Step
from mtlbench.errors import MtlbenchError
from mtlbench.registry import unknown
from mtlbench.tasks import Tasks


class Fixed(Scalarization):
    """Each loss has a weight that never changes.

    Args:
        weights: task -> weight > 0; a task that is not named keeps its published weight.
    """

    factors: Tensor

    def __init__(self, tasks: Tasks, *, weights: dict[str, float] | None = None) -> None:
        super().__init__(tasks)
        for name, weight in (weights or {}).items():
            if name not in tasks:
                raise MtlbenchError(f"`weights` of balancer `fixed`: {unknown('task', name, list(tasks))}")
            if not weight > 0:
                raise MtlbenchError(f"`weights` of balancer `fixed` must be > 0, got {weight} for {name}")
        published = {name: task.weight for name, task in tasks.items()}
        self.register_buffer(
            "factors", torch.tensor(list((published | (weights or {})).values())), persistent=False
        )

    def total(self, losses: Tensor, step: Step) -> Tensor:
        return (self.factors.to(losses)[step.active] * losses).sum()
