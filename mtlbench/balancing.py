"""What every balancer promises. A balancer is mathematics only: `mtlbench.engine` does all that concerns
gradients.

T tasks, P shared parameters; "shared" are the parameters that more than one task's loss reaches. Four kinds,
by need:

- `Scalarization`: losses (T,) -> one differentiable scalar;
- `Weighting`: the Gramian K = G G^T (T, T) of the task gradients G (T, P) -> weights (T,);
- `CrossWeighting`: J1 J2^T (T, T) of two independent batches -> weights (T,) for a third;
- `Aggregation`: the task gradients (T, P) themselves -> one gradient (P,).

Tasks without a label in a batch are left out before a balancer is asked: T is then smaller, and
`Step.active` says which tasks are meant. So are, before weights are asked for, tasks whose gradient is
exactly zero. The parameters of one task alone get the gradient of that task's own loss, times `own_weights`
(1 unless a balancer says otherwise); under a `Scalarization` all parameters descend its scalar.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from mtlbench.errors import MtlbenchError
from mtlbench.search.spaces import Domain
from mtlbench.tasks import Tasks

Place = Literal["parameters", "representation", "last_layer"]
"""Where task gradients are taken: at all shared parameters; at the backbone's feature maps; or at the last
convolution or linear layer that all tasks share. The weights found there hold for all shared parameters."""


class Unsolvable(Exception):
    """A balancer's problem has no solution for these gradients, or the solver didn't reach it.

    The engine counts it, logs it and goes on with the weights of the step before (1 at first), or where there
    are no weights with the sum of the task gradients.
    """


@dataclass(frozen=True)
class Step:
    """Where in the training a balancer is asked.

    Attributes:
        index: of the optimizer step, from 0.
        epoch: passes over the training data that are complete.
        active: positions of the tasks that take part, (T,) int64.
        losses: their losses over the whole batch, detached, (T,).
        generator: for random draws; the same numbers on every rank, and after a resume.
        features: for an `Aggregation` at the representation, the backbone's maps, detached, (B, C, h, w)
            each; the rows hold the gradients at them, flattened, one map after the other.
    """

    index: int
    epoch: int
    active: Tensor
    losses: Tensor
    generator: torch.Generator
    features: Sequence[Tensor] = field(default=())


class Balancer(nn.Module):
    """State lives in buffers and parameters; the latter get an Adam of their own, without weight decay."""

    per_task: ClassVar[tuple[str, ...]] = ()
    """Buffers and parameters whose first axis is the task; they are kept under the tasks' names."""

    sees_change: ClassVar[bool] = False
    """True: `observe_change` is called, which costs one more forward pass per step."""

    search_space: ClassVar[Mapping[str, Domain]] = {}
    """Option -> the values that it is sensible to tune it over; the default is one of them."""

    tuned_as: ClassVar[str | None] = None
    """The balancer that takes tuned values, where this one has no options of its own."""

    lr: float = 0.0
    """Learning rate of the balancer's own parameters, if it has any."""

    def __init__(self, tasks: Tasks) -> None:
        super().__init__()
        self.task_names = tuple(tasks)

    @classmethod
    def search_defaults(cls, tasks: Tasks) -> Mapping[str, Mapping[str, float]]:
        """Option of weights by task -> those that it has by default; none: all tasks weigh 1."""
        return {}

    def observe(self, step: Step) -> None:
        """Called after every optimizer step, for bookkeeping."""

    def observe_change(self, step: Step, after: Tensor) -> None:
        """Called after every optimizer step with the same batch's losses (T,) under the new parameters."""

    def state_by_task(self) -> dict[str, Any]:
        """All state; per-task tensors as a mapping from task name to value."""
        return {
            name: dict(zip(self.task_names, value.unbind(0), strict=True)) if name in self.per_task else value
            for name, value in self.state_dict().items()
        }

    def load_state_by_task(self, state: dict[str, Any]) -> None:
        """The reverse; a task that the saved state doesn't know keeps its initial value.

        A buffer that begins as (T, 0), because its length is not known before the first step, takes the saved
        length; tasks that are not known then begin with zeros.
        """
        for name, value in self.state_by_task().items():
            if name not in self.per_task:
                self._assign(name, state[name])
                continue
            length = max(v.numel() for v in state[name].values())
            initial = {t: v if v.numel() == length else v.new_zeros(length) for t, v in value.items()}
            known = {**initial, **state[name]}
            self._assign(name, torch.stack([known[task].to(initial[task]) for task in self.task_names]))

    def _assign(self, name: str, value: Tensor) -> None:
        current = self.get_parameter(name) if name in dict(self.named_parameters()) else self.get_buffer(name)
        with torch.no_grad():
            current.set_(value.to(current).clone())  # type: ignore[call-overload]


class Scalarization(Balancer):
    """Losses in, one scalar out."""

    linear: bool = False
    """True: the scalar is linear in the losses, so that its weights don't depend on the batch at hand.

    Otherwise a batch that is split into micro-batches goes through the network once more, to know its losses.
    """

    def total(self, losses: Tensor, step: Step) -> Tensor:
        """Losses (T,) of the active tasks -> the scalar to descend, differentiable."""
        raise NotImplementedError


class GradientBalancer(Balancer):
    """What works on task gradients.

    Args:
        at: where task gradients are taken.
    """

    def __init__(self, tasks: Tasks, *, at: Place = "parameters") -> None:
        super().__init__(tasks)
        self.at = at

    def own_weights(self, step: Step) -> Tensor | None:
        """Weights (T,) of the gradients of each task's own parameters; None: all 1.

        Asked in every step, after `weights` or `combine` where those are asked.
        """
        return None


class Weighting(GradientBalancer):
    """Gramian in, weights out.

    Args:
        at: where task gradients are taken.
        every: steps between two times that the weights are computed; they are kept in between.
    """

    def __init__(self, tasks: Tasks, *, at: Place = "parameters", every: int = 1) -> None:
        super().__init__(tasks, at=at)
        if every < 1:
            raise MtlbenchError(f"`every` of a balancer must be >= 1, got {every}")
        self.every = every

    def weights(self, gramian: Tensor, step: Step) -> Tensor:
        """K (T, T) float64 on the CPU -> weights (T,) float64 of the task gradients.

        `step.losses` is float64 on the CPU, too, and no task's gradient is exactly zero.

        Raises:
            Unsolvable: there are none.
        """
        raise NotImplementedError


class CrossWeighting(GradientBalancer):
    """The task gradients of two independent batches in, weights for those of a third out.

    Each optimizer step takes three batches. Task gradients are taken at the shared parameters.
    """

    batches: ClassVar[int] = 3

    def __init__(self, tasks: Tasks) -> None:
        super().__init__(tasks)

    def weights(self, cross: Tensor, step: Step) -> Tensor:
        """J1 J2^T (T, T) float64 on the CPU -> weights (T,) float64 of the third batch's task gradients."""
        raise NotImplementedError


class Aggregation(GradientBalancer):
    """Task gradients in, one gradient out."""

    def combine(self, rows: Tensor, step: Step) -> Tensor:
        """Task gradients (T, P), which may be overwritten -> the gradient of the shared parameters (P,).

        Raises:
            Unsolvable: there is none; `rows` must be as they were.
        """
        raise NotImplementedError
