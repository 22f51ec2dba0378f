"""Carries a `Scalarization` out: one backward pass of a weighted sum."""

from __future__ import annotations

from dataclasses import replace

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from mtlbench.balancing import Scalarization, Step
from mtlbench.engine.base import Engine
from mtlbench.engine.diagnostics import Diagnostics, diagnose
from mtlbench.tasks import Tasks


class ScalarEngine(Engine):
    """The weights are the scalar's gradient at the losses averaged over ranks.

    So they are the same on all ranks, exactly, for scalars that are not linear in the losses too. Those are
    asked at the losses of the whole batch, linear ones anew for every micro-batch.
    """

    balancer: Scalarization

    def __init__(self, balancer: Scalarization, network: nn.Module, tasks: Tasks, fabric: Fabric) -> None:
        super().__init__(balancer.to(fabric.device), network, tasks, fabric)
        self.predicted = len(getattr(network, "tasks", tasks))  # with those that don't train at all
        self._weights: Tensor | None = None

    def looks_ahead(self, micro_batches: int) -> bool:
        return micro_batches > 1 and not self.balancer.linear

    def syncs_in_backward(self, step: Step) -> bool:
        """Not where a task is left out: DDP waits for gradients of all parameters that the forward used."""
        return len(step.active) == self.predicted

    def begin(self, step: Step, ahead: Tensor | None = None) -> None:
        super().begin(step)
        self._weights = None if ahead is None else self._ask(replace(step, losses=ahead), 1.0)

    def _differentiate(self, losses: list[Tensor], step: Step, share: float, batch: int) -> None:
        weights = self._weights
        if weights is None or self.balancer.linear:
            weights = self._weights = self._ask(step, share)
        factors = (weights * share * self.scale).unbind()
        with self.clock.measure("equal"):
            weighted = [f * loss for f, loss in zip(factors, losses, strict=True)]
            self.fabric.backward(torch.stack(weighted).sum())

    def _ask(self, step: Step, share: float) -> Tensor:
        """The weights (T,) at `step.losses`; leaves `share` of the gradient of the balancer's parameters."""
        step.generator.manual_seed(step.generator.initial_seed())  # the same draws for every micro-batch
        values = step.losses.clone().requires_grad_()
        self.balancer.total(values, step).mul(share).backward()
        assert values.grad is not None
        return values.grad / share

    def _combine(self, step: Step) -> Diagnostics:
        if not self.syncs_in_backward(step):
            self._average(self.parameters)
        return diagnose(self._active(step), self._weights, None)
