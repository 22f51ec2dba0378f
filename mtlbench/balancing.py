"""What every balancer promises. A balancer is mathematics only: `mtlbench.engine` does all that concerns
gradients.

T tasks, P shared parameters; "shared" are the parameters that more than one task's loss reaches. Three kinds,
by need:

- `Scalarization`: losses (T,) -> one differentiable scalar;
- `Weighting`: the Gramian K = G G^T (T, T) of the task gradients G (T, P) -> weights (T,);
- `Aggregation`: the task gradients (T, P) themselves -> one gradient (P,).

Tasks without a label in a batch are left out before a balancer is asked: T is then smaller, and `Step.active`
    says which
tasks are meant. The parameters of one task alone get the gradient of that task's own loss, unweighted, except
under a `Scalarization`, whose scalar all parameters descend.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from mtlbench.tasks import Tasks


@dataclass(frozen=True)
class Step:
    """Where in the training a balancer is asked.

    Attributes:
        index: of the optimizer step, from 0.
        epoch: passes over the training data that are complete.
        active: positions of the tasks that take part, (T,) int64.
        losses: their losses, detached, (T,).
        generator: for random draws; the same numbers on every rank, and after a resume.
    """

    index: int
    epoch: int
    active: Tensor
    losses: Tensor
    generator: torch.Generator


class Balancer(nn.Module):
    """State lives in buffers and parameters; the latter get an Adam of their own, without weight decay."""

    per_task: ClassVar[tuple[str, ...]] = ()
    """Buffers and parameters whose first axis is the task; they are kept under the tasks' names."""

    lr: float = 0.0
    """Learning rate of the balancer's own parameters, if it has any."""

    def __init__(self, tasks: Tasks) -> None:
        super().__init__()
        self.task_names = tuple(tasks)

    def observe(self, step: Step) -> None:
        """Called after every optimizer step, for bookkeeping."""

    def state_by_task(self) -> dict[str, Any]:
        """All state; per-task tensors as a mapping from task name to value."""
        return {
            name: dict(zip(self.task_names, value.unbind(0), strict=True)) if name in self.per_task else value
            for name, value in self.state_dict().items()
        }

    def load_state_by_task(self, state: dict[str, Any]) -> None:
        """The reverse; a task that the saved state doesn't know keeps its initial value."""
        current = self.state_by_task()
        self.load_state_dict(
            {
                name: torch.stack([{**current[name], **state[name]}[task] for task in self.task_names])
                if name in self.per_task
                else state[name]
                for name in current
            }
        )


class Scalarization(Balancer):
    """Losses in, one scalar out."""

    def total(self, losses: Tensor, step: Step) -> Tensor:
        """Losses (T,) of the active tasks -> the scalar to descend, differentiable."""
        raise NotImplementedError


class Weighting(Balancer):
    """Gramian in, weights out."""

    def weights(self, gramian: Tensor, step: Step) -> Tensor:
        """K (T, T) float64 on the CPU -> weights (T,) float64 of the task gradients."""
        raise NotImplementedError


class Aggregation(Balancer):
    """Task gradients in, one gradient out."""

    def combine(self, rows: Tensor, step: Step) -> Tensor:
        """Task gradients (T, P), which may be overwritten -> the gradient of the shared parameters (P,)."""
        raise NotImplementedError
