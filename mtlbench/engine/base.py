"""What all engines share: the order of calls in an optimizer step, losses, the balancer's own optimizer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from mtlbench.balancing import Balancer, Step
from mtlbench.engine.diagnostics import Clock, Diagnostics
from mtlbench.folder import Balancing
from mtlbench.ranks import mean_over_ranks
from mtlbench.tasks import Tasks


class Engine:
    """Accumulates task losses over micro-batches, then leaves the balanced gradient in `.grad`.

    In every optimizer step: `begin`; for every micro-batch a forward pass and `accumulate`; then `finish`.

    Attributes:
        batches: how many independent batches an optimizer step takes.
        failures: steps in which the balancer had no solution.
        clock: measures the step where its `running` is set.
        scale: what losses are multiplied with against underflow in half precision; `.grad` keeps the factor.
        overflowed: this step's gradients are not finite for that factor.
    """

    batches = 1
    failures = 0

    def __init__(self, balancer: Balancer, network: nn.Module, tasks: Tasks, fabric: Fabric) -> None:
        self.balancer = balancer
        self.names = tuple(tasks)
        self.fabric = fabric
        self.parameters = [p for p in network.parameters() if p.requires_grad]
        own = list(balancer.parameters())
        self.optimizer = torch.optim.Adam(own, lr=balancer.lr, weight_decay=0.0) if own else None
        self.clock = Clock(fabric.device)
        self.scale = 1.0
        self.overflowed = False
        self._losses: list[Tensor] = []

    def close(self) -> None:
        """Take everything off the network again."""

    def syncs_in_backward(self, step: Step) -> bool:
        """Whether the backward pass averages over ranks; else the forward pass must not prepare for it."""
        return False

    def looks_ahead(self, micro_batches: int) -> bool:
        """Whether `begin` must be told the losses of the whole batch."""
        return False

    def survey(self, predictions: Mapping[str, Sequence[Tensor]]) -> None:
        """See what each task's predictions depend on; called after each forward pass, with all tasks."""

    def begin(self, step: Step, ahead: Tensor | None = None) -> None:
        """Start an optimizer step; `ahead` are the losses (T,) of the whole batch, for who `looks_ahead`."""
        self._losses = []
        self.overflowed = False

    def accumulate(self, losses: Mapping[str, Tensor], step: Step, share: float, batch: int = 0) -> None:
        """Take in one micro-batch, which makes up `share` of its batch: a scalar loss per active task.

        `batch` says which of the step's independent batches it belongs to.
        """
        active = [losses[name] for name in self.names if name in losses]
        values = mean_over_ranks(self.fabric, torch.stack([loss.detach().float() for loss in active]))
        self._losses.append(values * share / self.batches)
        with self.clock.measure("balancing"):
            self._differentiate(active, replace(step, losses=values), share, batch)

    def finish(self, step: Step) -> Diagnostics:
        """After the last micro-batch: combine, and let the balancer learn and take notes."""
        step = replace(step, losses=torch.stack(self._losses).sum(0))
        with self.clock.measure("balancing"):
            diagnostics = self._combine(step)
            self.overflowed |= self.scale != 1 and not self._finite()
            if self.optimizer is not None and not self.overflowed:
                self.optimizer.step()
            if self.optimizer is not None:
                self.optimizer.zero_grad()
            if not self.overflowed:
                self.balancer.observe(step)
        return diagnostics

    def observe_change(self, step: Step, after: Tensor) -> None:
        """Tell the balancer the same batch's losses (T,) under the new parameters."""
        if not self.overflowed:
            before = torch.stack(self._losses).sum(0)
            self.balancer.observe_change(replace(step, losses=before), after.to(before))

    def cost(self) -> dict[str, float]:
        """Of the measured step: what the balancer took beyond equal weights, and its share of the step."""
        seconds = self.clock.seconds
        step = seconds["step"] - seconds["trial"]
        extra = seconds["balancing"] - seconds["trial"] - self._plain_seconds() + seconds["change"]
        extra = min(max(extra, 0.0), step)
        return {"milliseconds": round(1000 * extra, 3), "share": round(extra / step, 4) if step else 0.0}

    def record(self) -> Balancing:
        """How the balancer was carried out, for the result."""
        return Balancing()

    def state(self) -> dict[str, Any]:
        """For a checkpoint, beside the balancer's own state."""
        return {"optimizer": self.optimizer.state_dict() if self.optimizer else None}

    def load_state(self, state: dict[str, Any]) -> None:
        if self.optimizer is not None:
            self.optimizer.load_state_dict(state["optimizer"])

    def _differentiate(self, losses: list[Tensor], step: Step, share: float, batch: int) -> None:
        raise NotImplementedError

    def _combine(self, step: Step) -> Diagnostics:
        raise NotImplementedError

    def _plain_seconds(self) -> float:
        """What the measured step's backward passes would have taken with equal weights."""
        return self.clock.seconds["equal"]

    def _average(self, parameters: Iterable[nn.Parameter]) -> None:
        """The mean of `.grad` over ranks, which all have gradients of the same parameters."""
        if self.fabric.world_size == 1:
            return
        for parameter in parameters:
            if parameter.grad is not None:
                parameter.grad = mean_over_ranks(self.fabric, parameter.grad)

    def _finite(self) -> bool:
        """Whether all of `.grad` is."""
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        if not gradients:
            return True
        return bool(torch.stack(torch._foreach_norm(gradients, float("inf"))).isfinite().all())

    def _active(self, step: Step) -> list[str]:
        return [self.names[i] for i in step.active.tolist()]
