"""What the engine asks of each place where task gradients can be taken."""

from __future__ import annotations

from collections.abc import Sequence

from lightning_fabric import Fabric
from torch import Tensor

from mtlbench.engine.cut import Map
from mtlbench.engine.passes import Gradients, descend
from mtlbench.engine.reach import Reach
from mtlbench.engine.rows import add_gradients, weighted_sum


class Place:
    """Takes in micro-batches, gives inner products of task gradients, adds to `.grad` of what is shared."""

    def __init__(self, reach: Reach, fabric: Fabric) -> None:
        self.reach = reach
        self.fabric = fabric

    def begin(self, active: Sequence[int]) -> None:
        """Forget the last step; the tasks at these positions take part in this one."""
        self.active = list(active)

    def wanted(self, task: int) -> Sequence[Tensor]:
        """Where above the cut a task's gradient is needed, beside its own parameters."""
        return self.reach.above[task]

    def take_in(self, maps: Sequence[Map], at_maps: list[Gradients], at_wanted: list[Gradients]) -> None:
        """One micro-batch: active task -> gradients at the maps, and at what is `wanted`."""
        raise NotImplementedError

    def products(self) -> Tensor:
        """Inner products of the active tasks' gradients (T, T) float64 on the CPU, the same on all ranks."""
        raise NotImplementedError

    def rows(self) -> tuple[Tensor, Sequence[Tensor]]:
        """The active tasks' gradients (T, P), the same on all ranks, and the maps that they belong to."""
        raise NotImplementedError

    def write(self, weights: Sequence[float]) -> None:
        """The weighted sum of the active tasks' gradients."""
        raise NotImplementedError

    def write_rows(self, combined: Tensor) -> None:
        """One gradient (P,) in place of `rows`."""
        raise NotImplementedError

    def memory(self) -> int:
        """Bytes held for task gradients now."""
        return 0


class Known(Place):
    """No place: the weights are known beforehand, and nothing is kept."""

    def __init__(self, reach: Reach, fabric: Fabric, weights: Sequence[float]) -> None:
        super().__init__(reach, fabric)
        self.weights = list(weights)

    def take_in(self, maps: Sequence[Map], at_maps: list[Gradients], at_wanted: list[Gradients]) -> None:
        for task, weight, gradients in zip(self.active, self.weights, at_wanted, strict=True):
            add_gradients(self.reach.above[task], [None if g is None else g * weight for g in gradients])
        descend_weighted(self.reach, maps, at_maps, self.weights)


def descend_weighted(
    reach: Reach, maps: Sequence[Map], at_maps: Sequence[Gradients], weights: Sequence[float]
) -> None:
    """One pass below the cut with the weighted sum of the tasks' gradients at the maps."""
    sums = [weighted_sum(weights, gradients) for gradients in zip(*at_maps, strict=True)]
    add_gradients(reach.below, descend(maps, reach.below, sums))
