"""Carries a `CrossWeighting` out: three independent batches in one optimizer step."""

from __future__ import annotations

from collections.abc import Sequence

from mtlbench.balancing import CrossWeighting, Step
from mtlbench.engine.diagnostics import Diagnostics, diagnose
from mtlbench.engine.gradient import GradientEngine
from mtlbench.engine.place import Place
from mtlbench.engine.rows import inner_products


class CrossEngine(GradientEngine):
    """Rows of two batches give the weights, with which the third is passed once."""

    balancer: CrossWeighting
    batches = CrossWeighting.batches

    def _start(self, tasks: Sequence[int]) -> None:
        super()._start(tasks)
        self._second = getattr(self, "_second", None) or self._make_place()
        self._second.begin(tasks)
        self._third: Place | None = None

    def _memory(self) -> int:
        return super()._memory() + self._second.memory()

    def _place_of(self, batch: int, step: Step) -> Place:
        if batch < 2:
            return (self._use, self._second)[batch]
        if self._third is None:
            first, second = (place.rows()[0] for place in (self._use, self._second))
            self._gramian = inner_products(first, first).cpu() / self.scale**2
            cross = inner_products(first, second).cpu() / self.scale**2
            self._weights = self._solve(cross, step)
            self._third = self._know(step.active.tolist(), self._weights)
        return self._third

    def _combine(self, step: Step) -> Diagnostics:
        assert self.reach is not None
        self._weigh_own(step)
        self._average_the_rest(step, shared=True)
        return diagnose(self._active(step), self._weights, self._gramian)
