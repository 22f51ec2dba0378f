"""What is tried in the first step: which way to task gradients is fastest; what equal weights would cost."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from mtlbench.engine import layers as implicit
from mtlbench.engine.at_parameters import AtParameters
from mtlbench.engine.cut import Map
from mtlbench.engine.layers import Calls
from mtlbench.engine.passes import Gradients, above, descend
from mtlbench.engine.reach import Reach

log = logging.getLogger(__name__)

GAIN = 0.85
"""Batched passes must take less than this share of the time of sequential ones."""
AGREEMENT = 1e-3
"""Largest relative difference of squared norms that rounding may cause; other ways are not used."""


@dataclass(frozen=True)
class Plan:
    """How task gradients are computed.

    Attributes:
        passes: below the cut, `sequential` or `batched`.
        layers: those whose weight gradients are not written out.
        plain: seconds of a micro-batch's backward pass with equal weights.
    """

    passes: str
    layers: tuple[nn.Module, ...]
    plain: float

    def state(self, network: nn.Module) -> dict[str, Any]:
        names = [name for name, module in network.named_modules() if module in self.layers]
        return {"passes": self.passes, "layers": names, "plain": self.plain}

    @classmethod
    def of(cls, state: dict[str, Any], network: nn.Module) -> Plan:
        layers = tuple(network.get_submodule(name) for name in state["layers"])
        return cls(state["passes"], layers, state["plain"])


@dataclass(frozen=True)
class MicroBatch:
    """One forward pass: a loss per task of `tasks`, the maps, and the layers' calls."""

    losses: Sequence[Tensor]
    maps: Sequence[Map]
    calls: Calls
    tasks: Sequence[int]


def choose(reach: Reach, batch: MicroBatch, fabric: Fabric, passes: str, exact: bool) -> Plan:
    """Try what is possible; the batch's graph is kept.

    Args:
        reach: what each task depends on.
        batch: of the first step.
        fabric: for the device.
        passes: `sequential`, `batched`, or `auto` to choose.
        exact: task gradients are taken at the parameters.
    """
    plain = plain_seconds(reach, batch, fabric)
    if not exact:
        return Plan("sequential", (), plain)
    layers = _implicit_layers(reach, batch)
    if passes != "auto" or not batch.maps:
        return Plan("sequential" if passes == "auto" else passes, layers, plain)
    one_by_one, patience = _timed(lambda: _gramian(reach, batch, fabric, "sequential", layers), fabric)
    try:
        at_once, seconds = _timed(lambda: _gramian(reach, batch, fabric, "batched", layers), fabric)
    except RuntimeError as error:  # an operation that can't be batched
        log.info("batched passes don't work here: %s", str(error).splitlines()[0])
        return Plan("sequential", layers, plain)
    agree = _agree(at_once.diagonal(), one_by_one.diagonal())
    faster = seconds < GAIN * patience
    return Plan("batched" if agree and faster else "sequential", layers, plain)


def plain_seconds(reach: Reach, batch: MicroBatch, fabric: Fabric, *, runs: int = 2) -> float:
    """What the backward pass of the sum of the losses takes, as with equal weights; the last of some runs."""

    def backward() -> None:
        parameters = list({p: None for t in batch.tasks for p in (*reach.own[t], *reach.above[t])})
        at_maps, _ = above([torch.stack(list(batch.losses)).sum()], batch.maps, [parameters], keep=True)
        descend(batch.maps, reach.below, at_maps[0], keep=True)

    return _timed(backward, fabric, runs=runs)[1]


def _gramian(
    reach: Reach, batch: MicroBatch, fabric: Fabric, passes: str, layers: Sequence[nn.Module]
) -> Tensor:
    """Inner products of task gradients (T, T) at the parameters."""
    tasks = max(batch.tasks) + 1
    place = AtParameters(reach, tasks, fabric, passes=passes, layers=layers, keep=True)
    place.begin(batch.tasks)
    place.see(batch.calls)
    wanted = [place.wanted(task) for task in batch.tasks]
    at_maps, at_wanted = above(batch.losses, batch.maps, wanted, keep=True)
    place.take_in(batch.maps, at_maps, at_wanted)
    return place.products()


def _implicit_layers(reach: Reach, batch: MicroBatch) -> tuple[nn.Module, ...]:
    """The layers that pay, if their gradients' norms are what the layers' weights have."""
    shared, below = set(reach.shared), set(reach.below)
    direct = {p for found in reach.above for p in found}
    layers = [
        module
        for module, calls in batch.calls.items()
        if len(calls) == 1
        and all(p in shared and not (p in below and p in direct) for p in implicit.parameters_of(module))
        and implicit.pays(module, calls[0], len(batch.tasks))
    ]
    if not layers:
        return ()
    for loss in batch.losses:
        outputs = [batch.calls[module][0].outputs for module in layers]
        at_outputs = _gradients(reach, batch, loss, outputs)
        weights = [p for module in layers for p in implicit.parameters_of(module)]
        at_weights = dict(zip(weights, _gradients(reach, batch, loss, weights), strict=True))
        for module, gradient in zip(list(layers), at_outputs, strict=True):
            exact = sum(
                float(g.double().square().sum())
                for p in implicit.parameters_of(module)
                if (g := at_weights[p]) is not None
            )
            if gradient is None:
                implied = 0.0
            else:
                implied = float(implicit.gramian(module, batch.calls[module][0], [gradient]))
            if not _agree(torch.tensor(implied), torch.tensor(exact)):
                log.info("%s is used in a way that needs its gradients written out", module)
                return ()
    return tuple(layers)


def _gradients(reach: Reach, batch: MicroBatch, loss: Tensor, targets: Sequence[Tensor]) -> Gradients:
    """Of one loss, at targets that lie on one side of the cut each."""
    at_maps, at_targets = above([loss], batch.maps, [targets], keep=True)
    below = descend(batch.maps, targets, at_maps[0], keep=True)
    return [b if a is None else a for a, b in zip(at_targets[0], below, strict=True)]


def _agree(first: Tensor, second: Tensor) -> bool:
    return torch.allclose(first.double(), second.double(), rtol=AGREEMENT, atol=0)


def _timed(run: Callable[[], Any], fabric: Fabric, *, runs: int = 2) -> tuple[Any, float]:
    """The result and the seconds of the last run."""
    for _ in range(runs - 1):
        run()
    _wait(fabric)
    started = time.perf_counter()
    found = run()
    _wait(fabric)
    return found, time.perf_counter() - started


def _wait(fabric: Fabric) -> None:
    if fabric.device.type == "cuda":
        torch.cuda.synchronize(fabric.device)
