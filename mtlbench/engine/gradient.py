"""Carries balancers out that work on task gradients.

The graph is cut at the backbone's maps. Above the cut every task's loss is differentiated alone, once: that
gives the gradients of the task's own parameters, of what it shares with others there, and at the maps. What
happens below depends on where the balancer wants task gradients:

- at the parameters: T passes, which give rows or, where a layer allows, inner products alone;
- elsewhere, or where the weights are known already: one pass with the weighted sum of what comes to the maps.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from mtlbench.balancing import Aggregation, CrossWeighting, Step, Unsolvable, Weighting
from mtlbench.engine import trial
from mtlbench.engine.at_maps import AtLastLayer, AtMaps, last_weight
from mtlbench.engine.at_parameters import AtParameters
from mtlbench.engine.base import Engine
from mtlbench.engine.cut import Cut
from mtlbench.engine.diagnostics import Diagnostics, diagnose
from mtlbench.engine.layers import Layers
from mtlbench.engine.passes import above
from mtlbench.engine.place import Known, Place
from mtlbench.engine.reach import Reach, find_reach, owners_of
from mtlbench.engine.rows import add_gradients, inner_products
from mtlbench.folder import Balancing
from mtlbench.solving import solve
from mtlbench.tasks import Tasks

log = logging.getLogger(__name__)

MEASURING = 0.01
"""Share of the time that may go into backward passes which only measure what equal weights would cost now."""


class GradientEngine(Engine):
    """For `Weighting` and `Aggregation`.

    Attributes:
        plan: how gradients are computed; None until the first step has tried what is faster.
    """

    balancer: Weighting | Aggregation | CrossWeighting

    def __init__(
        self,
        balancer: Weighting | Aggregation | CrossWeighting,
        network: nn.Module,
        tasks: Tasks,
        fabric: Fabric,
        *,
        passes: str = "auto",
    ) -> None:
        if isinstance(balancer, Aggregation):
            balancer = balancer.to(fabric.device)
        super().__init__(balancer, network, tasks, fabric)
        self.network = network
        self.plan: trial.Plan | None = None
        self.reach: Reach | None = None
        self._passes = passes
        self._cut = Cut(getattr(network, "backbone", None))
        self._layers = Layers(network) if self._may_imply() else None
        self._known: dict[str, float] = {}
        self._largest = 0
        self._place: Place | None = None
        self._made, self._measured = time.monotonic(), 0.0

    def close(self) -> None:
        self._cut.close()
        if self._layers is not None:
            self._layers.keep(set())

    def record(self) -> Balancing:
        shared = sum(p.numel() for p in self.reach.shared) if self.reach else 0
        return Balancing(
            at=self.balancer.at,
            every=getattr(self.balancer, "every", 1),
            shared_parameters=shared,
            passes=self.plan.passes if self.plan else None,
            implied_layers=len(self.plan.layers) if self.plan else 0,
            gradient_memory_mb=self._largest / 2**20,
            failures=self.failures,
        )

    def _plain_seconds(self) -> float:
        return self.plan.plain * len(self._losses) if self.plan else 0.0

    def state(self) -> dict[str, Any]:
        own = {"failures": self.failures, "known": self._known}
        return super().state() | own | {"plan": self.plan.state(self.network) if self.plan else None}

    def load_state(self, state: dict[str, Any]) -> None:
        super().load_state(state)
        self.failures, self._known = state["failures"], state["known"]
        if state["plan"] is not None:
            self._follow(trial.Plan.of(state["plan"], self.network))

    def _follow(self, plan: trial.Plan) -> None:
        self.plan = plan
        if self._layers is not None:
            self._layers.keep(set(plan.layers))

    def survey(self, predictions: Mapping[str, Sequence[Tensor]]) -> None:
        self._maps = self._cut.take()
        self._calls = self._layers.take() if self._layers is not None else {}
        if self.reach is None:
            roots = [predictions[name] for name in self.names]
            owners = owners_of(self.network, self.names)
            self.reach = find_reach(roots, self._maps, self.parameters, owners)

    def begin(self, step: Step, ahead: Tensor | None = None) -> None:
        super().begin(step)
        self._started = False
        self._weights = self._recall(step)
        self._watch(True)

    def finish(self, step: Step) -> Diagnostics:
        self._watch(False)
        return super().finish(step)

    def _watch(self, on: bool) -> None:
        """Whether forward passes are cut and noted: those of a step only."""
        self._cut.active = on
        if self._layers is not None:
            self._layers.active = on

    def _differentiate(self, losses: list[Tensor], step: Step, share: float, batch: int) -> None:
        assert self.reach is not None, "`survey` comes before `accumulate`"
        scaled = [loss * (share * self.scale) for loss in losses]
        tasks = step.active.tolist()
        if self.plan is None:
            with self.clock.measure("trial"):
                self._follow(self._try(scaled, tasks, share))
        elif self.clock.running and self._measured < MEASURING * (time.monotonic() - self._made):
            self._measure_plain(trial.MicroBatch(scaled, self._maps, self._calls, tasks))
        if not self._started:
            self._started = True
            self._start(tasks)
        self._take_in(self._place_of(batch, step), scaled, tasks)

    def _measure_plain(self, batch: trial.MicroBatch) -> None:
        """Anew, for what else the machine does may have changed."""
        assert self.reach is not None
        assert self.plan is not None
        started = time.monotonic()
        with self.clock.measure("trial"):
            self.plan = replace(self.plan, plain=trial.plain_seconds(self.reach, batch, self.fabric, runs=1))
        self._measured += time.monotonic() - started

    def _start(self, tasks: Sequence[int]) -> None:
        """Before the first micro-batch of a step."""
        assert self.plan is not None
        if isinstance(self._place, AtParameters) and not self._place.fits(self._calls):
            log.warning(
                "the network calls its layers otherwise than in the first step: all rows are kept now"
            )
            self.plan, self._place = replace(self.plan, layers=()), None
        self._place = self._place or self._make_place()
        self._place.begin(tasks)
        self._use = self._place if self._weights is None else self._know(tasks, self._weights)

    def _know(self, tasks: Sequence[int], weights: Tensor) -> Place:
        assert self.reach is not None
        known = Known(self.reach, self.fabric, weights.tolist())
        known.begin(tasks)
        return known

    def _memory(self) -> int:
        """Bytes held for task gradients now."""
        assert self._place is not None
        return self._place.memory()

    def _place_of(self, batch: int, step: Step) -> Place:
        return self._use

    def _make_place(self) -> Place:
        assert self.reach is not None
        assert self.plan is not None
        found = {
            "parameters": self.reach.shared,
            "representation": self._maps,
            "last_layer": last_weight(self.network, self.reach),
        }
        if not found[self.balancer.at]:
            log.warning("the tasks share nothing that trains at the %s: all weights are 1", self.balancer.at)
        args = (self.reach, len(self.names), self.fabric)
        if self.balancer.at == "representation":
            return AtMaps(*args)
        if self.balancer.at == "last_layer":
            return AtLastLayer(*args, self.network)
        return AtParameters(*args, passes=self.plan.passes, layers=self.plan.layers)

    def _take_in(self, place: Place, losses: list[Tensor], tasks: list[int]) -> None:
        assert self.reach is not None
        if isinstance(place, AtParameters):
            place.see(self._calls)
        own = [self.reach.own[task] for task in tasks]
        wanted = [place.wanted(task) for task in tasks]
        targets = [[*o, *w] for o, w in zip(own, wanted, strict=True)]
        at_maps, found = above(losses, self._maps, targets)
        for parameters, gradients in zip(own, found, strict=True):
            add_gradients(parameters, gradients[: len(parameters)])
        at_wanted = [gradients[len(parameters) :] for parameters, gradients in zip(own, found, strict=True)]
        place.take_in(self._maps, at_maps, at_wanted)
        self._largest = max(self._largest, self._memory())
        self._maps, self._calls = [], {}

    def _combine(self, step: Step) -> Diagnostics:
        gramian = None
        if self._weights is None and isinstance(self.balancer, Aggregation):
            gramian = self._aggregate(step)
        elif self._weights is None:
            gramian = self._use.products() / self.scale**2
            self._weights = self._solve(gramian, step)
            self._use.write(self._weights.tolist())
        self._weigh_own(step)
        self._largest = max(self._largest, self._memory())
        self._average_the_rest(step, shared=not isinstance(self._use, AtParameters))
        return diagnose(self._active(step), self._weights, gramian)

    def _aggregate(self, step: Step) -> Tensor | None:
        """Ask for one gradient; the Gramian is for the record alone."""
        assert isinstance(self.balancer, Aggregation)
        rows, maps = self._use.rows()
        if self.scale != 1:
            rows.div_(self.scale)
        gramian = inner_products(rows, rows).cpu() if self.clock.running or self.scale != 1 else None
        if gramian is not None and self._overflows(gramian):
            self._use.write_rows(rows.sum(0))
            return None
        try:
            combined = self.balancer.combine(rows, replace(step, features=maps))
        except Unsolvable as reason:
            self._fail(step, "the sum of the task gradients is taken", reason)
            combined = rows.sum(0)
        self._use.write_rows(combined * self.scale)
        return gramian

    def _solve(self, products: Tensor, step: Step) -> Tensor:
        """Weights (T,), of this step or, where there are none, of an earlier one."""
        assert not isinstance(self.balancer, Aggregation)
        names = self._active(step)
        if self._overflows(products):
            return torch.ones(len(names), dtype=torch.float64)
        try:
            weights = solve(self.balancer, products, step)
        except Unsolvable as reason:
            self._fail(step, "the last weights are kept", reason)
            weights = torch.tensor([self._known.get(name, 1.0) for name in names], dtype=torch.float64)
        self._known |= dict(zip(names, weights.tolist(), strict=True))
        return weights

    def _fail(self, step: Step, instead: str, reason: Unsolvable) -> None:
        self.failures += 1
        level = logging.WARNING if self.failures == 1 else logging.DEBUG
        log.log(level, "the balancer has no solution in step %d, %s: %s", step.index + 1, instead, reason)

    def _overflows(self, products: Tensor) -> bool:
        """In half precision: the step will be skipped, and the balancer must not learn from it."""
        self.overflowed = self.scale != 1 and not products.isfinite().all()
        return self.overflowed

    def _weigh_own(self, step: Step) -> None:
        """Tasks' own parameters: the balancer's weights for them, and the mean over independent batches."""
        assert self.reach is not None
        weights = None if self.overflowed else self.balancer.own_weights(step)
        values = [1.0] * len(step.active) if weights is None else weights.tolist()
        for task, value in zip(step.active.tolist(), values, strict=True):
            gradients = [p.grad for p in self.reach.own[task] if p.grad is not None]
            if gradients and value != self.batches:
                torch._foreach_mul_(gradients, value / self.batches)

    def _average_the_rest(self, step: Step, *, shared: bool) -> None:
        """Over ranks: what was not averaged before the balancer was asked."""
        assert self.reach is not None
        self._average(p for task in step.active.tolist() for p in self.reach.own[task])
        if shared:
            self._average(self.reach.shared)

    def _recall(self, step: Step) -> Tensor | None:
        """The weights (T,) that are kept from an earlier step, or None if they are to be found."""
        names = self._active(step)
        due = not isinstance(self.balancer, Weighting) or step.index % self.balancer.every == 0
        if due or any(name not in self._known for name in names):
            return None
        return torch.tensor([self._known[name] for name in names], dtype=torch.float64)

    def _may_imply(self) -> bool:
        exact = isinstance(self.balancer, Weighting) and self.balancer.at == "parameters"
        return exact and self.fabric.world_size == 1

    def _try(self, losses: list[Tensor], tasks: list[int], share: float) -> trial.Plan:
        """What is fastest here; the first rank decides."""
        assert self.reach is not None
        batch = trial.MicroBatch(losses, self._maps, self._calls, tasks)
        calls = self._calls if share == 1 else {}
        exact = self.balancer.at == "parameters"
        plan = trial.choose(self.reach, replace(batch, calls=calls), self.fabric, self._passes, exact)
        if self.fabric.world_size > 1:
            plan = trial.Plan.of(self.fabric.broadcast(plan.state(self.network)), self.network)
        return plan
