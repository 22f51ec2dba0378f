"""Task gradients at the representation, and at the last shared layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from mtlbench.engine.cut import Map
from mtlbench.engine.passes import Gradients, descend
from mtlbench.engine.place import Place, descend_weighted
from mtlbench.engine.reach import Reach
from mtlbench.engine.rows import Rows, add_gradients, bytes_of, inner_products
from mtlbench.ranks import mean_over_ranks


@dataclass(frozen=True)
class Held:
    """A micro-batch whose graph below the cut waits for the weights; active task -> gradients at the maps."""

    maps: Sequence[Map]
    at_maps: list[Gradients]


class AtMaps(Place):
    """At the backbone's maps: a row is a task's gradient at all of them, over the whole batch of all ranks.

    Until the weights are known the graphs of all micro-batches below the cut are kept; then each is passed
    once. Rows are kept of what is shared above the cut.
    """

    def __init__(self, reach: Reach, tasks: int, fabric: Fabric) -> None:
        super().__init__(reach, fabric)
        shared = {p for found in reach.above for p in found}
        self._above = Rows([p for p in reach.shared if p in shared], tasks)

    def begin(self, active: Sequence[int]) -> None:
        super().begin(active)
        self._above.begin()
        self._held: list[Held] = []

    def take_in(self, maps: Sequence[Map], at_maps: list[Gradients], at_wanted: list[Gradients]) -> None:
        for task, gradients in zip(self.active, at_wanted, strict=True):
            self._above.add(task, self.reach.above[task], gradients)
        self._held.append(Held(maps, at_maps))

    def products(self) -> Tensor:
        products = torch.zeros(len(self.active), len(self.active), dtype=torch.float64)
        for held in self._held:
            for m, gradients in zip(held.maps, zip(*held.at_maps, strict=True), strict=True):
                flat = torch.stack([_zeros_if_none(g, m).flatten() for g in gradients])
                products += inner_products(flat, flat).cpu()
        ranks = self.fabric.world_size  # the batch of all ranks has the mean of their losses
        return mean_over_ranks(self.fabric, products.to(self.fabric.device)).cpu() / ranks

    def rows(self) -> tuple[Tensor, Sequence[Tensor]]:
        """Of each map, the micro-batches of all ranks stand one behind the other."""
        gradients, maps = [], []
        for index in range(len(self._held[0].maps)):
            parts = [(h.maps[index], [found[index] for found in h.at_maps]) for h in self._held]
            stacked = torch.cat([torch.stack([_zeros_if_none(g, m) for g in gs]) for m, gs in parts], dim=1)
            gradients.append(self._gather(stacked, 1).float() / self.fabric.world_size)
            maps.append(self._gather(torch.cat([m.below.detach() for m, _ in parts]), 0))
        nothing = torch.zeros(len(self.active), 0, device=self.fabric.device)  # where the backbone is frozen
        return torch.cat([nothing, *(g.flatten(1) for g in gradients)], dim=1), maps

    def _gather(self, part: Tensor, batch: int) -> Tensor:
        """The parts of all ranks, joined along the axis of the batch."""
        if self.fabric.world_size == 1:
            return part
        return torch.cat(list(cast(Tensor, self.fabric.all_gather(part.contiguous()))), dim=batch)

    def write(self, weights: Sequence[float]) -> None:
        self._write_above(weights)
        for held in self._held:
            descend_weighted(self.reach, held.maps, held.at_maps, weights)
        self._held = []

    def write_rows(self, combined: Tensor) -> None:
        """What is shared above the cut gets the sum of the tasks' gradients."""
        self._write_above([1.0] * len(self.active))
        rank, ranks, position = self.fabric.global_rank, self.fabric.world_size, 0
        at_maps: list[list[Tensor]] = [[] for _ in self._held]
        for index in range(len(self._held[0].maps)):
            sizes = [held.maps[index].below.shape[0] for held in self._held]
            shape = self._held[0].maps[index].below.shape[1:]
            count = sum(sizes) * shape.numel()
            start = position + rank * count
            mine = combined[start : start + count].view(-1, *shape) * ranks
            for found, part in zip(at_maps, mine.split(sizes), strict=True):
                found.append(part)
            position += ranks * count
        for held, found in zip(self._held, at_maps, strict=True):
            typed = [g.to(m.below.dtype) for m, g in zip(held.maps, found, strict=True)]
            add_gradients(self.reach.below, descend(held.maps, self.reach.below, typed))
        self._held = []

    def _write_above(self, weights: Sequence[float]) -> None:
        if self._above.parameters:
            matrix = self._above.of(self.active)
            self._above.write(torch.tensor(weights).to(matrix) @ matrix)

    def memory(self) -> int:
        return bytes_of([self._above.matrix, *(g for h in self._held for found in h.at_maps for g in found)])


class AtLastLayer(AtMaps):
    """At the weight of the last convolution or linear layer that every task's loss reaches."""

    def __init__(self, reach: Reach, tasks: int, fabric: Fabric, network: nn.Module) -> None:
        super().__init__(reach, tasks, fabric)
        self._weight = last_weight(network, reach)
        self._last = Rows(self._weight, tasks)

    def begin(self, active: Sequence[int]) -> None:
        super().begin(active)
        self._last.begin()

    def take_in(self, maps: Sequence[Map], at_maps: list[Gradients], at_wanted: list[Gradients]) -> None:
        super().take_in(maps, at_maps, at_wanted)
        for task, at_map, wanted in zip(self.active, at_maps, at_wanted, strict=True):
            direct = dict(zip(self.reach.above[task], wanted, strict=True))
            self._last.add(task, self._weight, [direct.get(weight) for weight in self._weight])
            self._last.add(task, self._weight, descend(maps, self._weight, at_map, keep=True))

    def products(self) -> Tensor:
        matrix = mean_over_ranks(self.fabric, self._last.of(self.active))
        return inner_products(matrix, matrix).cpu()


def last_weight(network: nn.Module, reach: Reach) -> list[nn.Parameter]:
    """That of the last convolution or linear layer that every task's loss reaches, if one trains."""
    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    weights = [layer.get_parameter("weight") for layer in layers]
    return [weight for weight in weights if weight in reach.common][-1:]


def _zeros_if_none(gradient: Tensor | None, at: Map) -> Tensor:
    return torch.zeros_like(at.below) if gradient is None else gradient
