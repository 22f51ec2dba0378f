"""Fixed weights.

    total = sum_i w_i L_i

Without weights given: those of the published recipes for dense prediction (semseg 1, human_parts 2, sal 5,
edge 50, normals 10, depth 1; ATRC, MTI-Net, InvPT, DeMT, DeGMix, MTLoRA).

Tuned log-uniformly, ratios up to 100 (as Xin et al., Do Current Multi-Task Optimization Methods in Deep
Learning Even Help?, NeurIPS 2022, compare with the whole front of fixed weights, not with one vector).
"""

from collections.abc import Mapping

from torch import Tensor

from mtlbench.balancing import Scalarization, Step
from mtlbench.errors import MtlbenchError
from mtlbench.search.spaces import Simplex, domains
from mtlbench.tasks import Tasks

from ._options import values_by_task


class Fixed(Scalarization):
    """Each loss has a weight that never changes.

    Args:
        weights: task -> weight > 0; a task that is not named keeps its published weight.
    """

    linear = True
    search_space = domains(weights=Simplex(0.1, 10))
    factors: Tensor

    @classmethod
    def search_defaults(cls, tasks: Tasks) -> Mapping[str, Mapping[str, float]]:
        return {"weights": _published(tasks)}

    def __init__(self, tasks: Tasks, *, weights: dict[str, float] | None = None) -> None:
        super().__init__(tasks)
        for name, weight in (weights or {}).items():
            if not weight > 0:
                raise MtlbenchError(f"`weights` of balancer `fixed` must be > 0, got {weight} for {name}")
        factors = values_by_task("fixed", "weights", tasks, weights, _published(tasks))
        self.register_buffer("factors", factors, persistent=False)

    def total(self, losses: Tensor, step: Step) -> Tensor:
        return (self.factors[step.active].to(losses) * losses).sum()


def _published(tasks: Tasks) -> dict[str, float]:
    return {name: task.weight for name, task in tasks.items()}
