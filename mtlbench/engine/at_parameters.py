"""Task gradients at all shared parameters: exact."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from mtlbench.engine import layers as implicit
from mtlbench.engine.cut import Map
from mtlbench.engine.layers import Call, Calls
from mtlbench.engine.passes import PASSES, Gradients
from mtlbench.engine.place import Place
from mtlbench.engine.reach import Reach
from mtlbench.engine.rows import Rows, add_gradients, bytes_of, inner_products
from mtlbench.ranks import mean_over_ranks


class AtParameters(Place):
    """Rows of task gradients; for some layers only what their inner products need (`mtlbench.engine.layers`).

    Args:
        passes: `sequential` or `batched`.
        layers: those whose gradients are never written out; only for one rank and one micro-batch.
        keep: keep the graph for another time.
    """

    def __init__(
        self,
        reach: Reach,
        tasks: int,
        fabric: Fabric,
        *,
        passes: str = "sequential",
        layers: Sequence[nn.Module] = (),
        keep: bool = False,
    ) -> None:
        super().__init__(reach, fabric)
        self._passes = partial(PASSES[passes], keep=keep)
        self.layers = list(layers)
        implied = {p for module in layers for p in implicit.parameters_of(module)}
        self._rows = Rows([p for p in reach.shared if p not in implied], tasks)
        self._above = [[p for p in found if p not in implied] for found in reach.above]
        self._below = [p for p in reach.below if p not in implied]
        self._calls: list[Call] = []
        above = {p for found in reach.above for p in found}
        self._above_cut = [not above.isdisjoint(implicit.parameters_of(module)) for module in layers]

    def begin(self, active: Sequence[int]) -> None:
        super().begin(active)
        self._rows.begin()
        self._outputs: list[list[Tensor | None]] = [[] for _ in active]

    def see(self, calls: Calls) -> None:
        """The layers' calls of the forward pass."""
        self._calls = [calls[module][0] for module in self.layers]

    def fits(self, calls: Calls) -> bool:
        return all(len(calls.get(module, ())) == 1 for module in self.layers)

    def wanted(self, task: int) -> Sequence[Tensor]:
        return [*self._above[task], *(call.outputs for call in self._calls_where(True))]

    def take_in(self, maps: Sequence[Map], at_maps: list[Gradients], at_wanted: list[Gradients]) -> None:
        targets = [*self._below, *(call.outputs for call in self._calls_where(False))]
        below = self._passes(maps, targets, at_maps)
        for i, task in enumerate(self.active):
            self._rows.add(task, self._above[task], at_wanted[i][: len(self._above[task])])
            self._rows.add(task, self._below, below[i][: len(self._below)])
            outputs = {
                True: iter(at_wanted[i][len(self._above[task]) :]),
                False: iter(below[i][len(self._below) :]),
            }
            self._outputs[i] = [next(outputs[where]) for where in self._above_cut]

    def _calls_where(self, above: bool) -> list[Call]:
        return [call for call, where in zip(self._calls, self._above_cut, strict=True) if where == above]

    def products(self) -> Tensor:
        matrix, _ = self.rows()
        products = inner_products(matrix, matrix)
        for module, call, gradients in self._implied():
            products += implicit.gramian(module, call, gradients)
        return products.cpu()

    def rows(self) -> tuple[Tensor, Sequence[Tensor]]:
        self._matrix = mean_over_ranks(self.fabric, self._rows.of(self.active))
        return self._matrix, ()

    def write(self, weights: Sequence[float]) -> None:
        self.write_rows(torch.tensor(weights).to(self._matrix) @ self._matrix)
        for module, call, gradients in self._implied():
            add_gradients(implicit.parameters_of(module), implicit.combined(module, call, gradients, weights))
        self._calls, self._outputs = [], []

    def write_rows(self, combined: Tensor) -> None:
        self._rows.write(combined)

    def _implied(self) -> list[tuple[nn.Module, Call, list[Tensor]]]:
        """Layer, its call, and the gradients of its outputs, one per active task."""
        found = []
        for index, (module, call) in enumerate(zip(self.layers, self._calls, strict=True)):
            per_task = [outputs[index] for outputs in self._outputs]
            zeros = torch.zeros_like(call.outputs)
            found.append((module, call, [zeros if g is None else g for g in per_task]))
        return found

    def memory(self) -> int:
        return bytes_of([self._rows.matrix, *(g for found in self._outputs for g in found)])
