"""Fixed weights.

    total = sum_i w_i L_i

Without weights given: those of the published recipes for dense prediction (semseg 1, human_parts 2, sal 5,
edge 50, normals 10, depth 1; ATRC, MTI-Net, InvPT, DeMT, DeGMix, MTLoRA).
"""

from torch import Tensor

from mtlbench.balancing import Scalarization, Step
from mtlbench.errors import MtlbenchError
from mtlbench.tasks import Tasks

from ._options import values_by_task


class Fixed(Scalarization):
    """Each loss has a weight that never changes.

    Args:
        weights: task -> weight > 0; a task that is not named keeps its published weight.
    """

    linear = True
    factors: Tensor

    def __init__(self, tasks: Tasks, *, weights: dict[str, float] | None = None) -> None:
        super().__init__(tasks)
        for name, weight in (weights or {}).items():
            if not weight > 0:
                raise MtlbenchError(f"`weights` of balancer `fixed` must be > 0, got {weight} for {name}")
        published = {name: task.weight for name, task in tasks.items()}
        factors = values_by_task("fixed", "weights", tasks, weights, published)
        self.register_buffer("factors", factors, persistent=False)

    def total(self, losses: Tensor, step: Step) -> Tensor:
        return (self.factors[step.active].to(losses) * losses).sum()
