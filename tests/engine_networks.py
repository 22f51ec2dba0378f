"""A network for tests of the engine, and what plain backward passes give for it."""

from __future__ import annotations

from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from mtlbench.balancing import Aggregation, Balancer, CrossWeighting, Step, Weighting
from mtlbench.engine import make_engine
from mtlbench.engine.base import Engine
from mtlbench.tasks import depth

NAMES = ("a", "b", "c")


TASKS: dict[str, Any] = {name: depth() for name in NAMES}


W = {"a": 2.0, "b": -1.0, "c": 0.5}


class Backbone(nn.Module):
    """Two maps of different size; its late layers have many weights and few positions."""

    def __init__(self, *, calls: int = 1) -> None:
        super().__init__()
        self.calls = calls
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.late = nn.Sequential(
            nn.Conv2d(8, 40, 3, 2, 1), nn.Tanh(), nn.Conv2d(40, 40, 3, 1, 1, bias=False)
        )
        self.flat = nn.Linear(40, 40)

    def forward(self, x: Tensor) -> list[Tensor]:
        first = self.stem(x)
        second = self.late(first)
        return [first, self.flat(second.movedim(1, -1)).movedim(-1, 1)]


class Network(nn.Module):
    """Heads on two maps, a decoder layer that a and b share, and a weight that decoder and backbone share."""

    def __init__(self, *, tied: bool = False, twice: bool = False, shared: bool = True) -> None:
        super().__init__()
        self.backbone = Backbone()
        self.mix = nn.Conv2d(40, 40, 1) if shared else None
        self.heads = nn.ModuleDict({name: nn.Conv2d(48, 1, 1) for name in NAMES})
        self.tied, self.twice = tied, twice

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        first, second = self.backbone(x)
        if self.twice:
            again = self.backbone(x.flip(-1))
            first, second = first + again[0].flip(-1), second + again[1].flip(-1)
        if self.tied:
            second = torch.tanh(self.backbone.flat(second.movedim(1, -1)).movedim(-1, 1))
        found = {}
        for i, name in enumerate(NAMES):
            deep = torch.tanh(self.mix(second)) if self.mix is not None and name != "c" else second
            deep = nn.functional.interpolate(deep, size=first.shape[-2:])
            output = self.heads[name](torch.cat([first, deep], 1))
            found[name] = (output - i).square().mean() * (1 + 10 * i)
        return found


class Fixed(Weighting):
    """Known weights; keeps the Gramian."""

    def weights(self, gramian: Tensor, step: Step) -> Tensor:
        self.gramian = gramian
        return torch.tensor([W[NAMES[i]] for i in step.active.tolist()], dtype=torch.float64)


class OwnWeighted(Fixed):
    """Weighs the tasks' own parameters, too."""

    def own_weights(self, step: Step) -> Tensor | None:
        return torch.tensor([3.0, 4.0, 5.0])[step.active]


class Squares(Aggregation):
    """Not linear in the rows."""

    def combine(self, rows: Tensor, step: Step) -> Tensor:
        self.rows, self.features = rows.clone(), step.features
        return (rows * rows.abs()).sum(0)


class CrossFixed(CrossWeighting):
    """Keeps the inner products of two batches."""

    def weights(self, cross: Tensor, step: Step) -> Tensor:
        self.cross = cross
        return torch.tensor([W[NAMES[i]] for i in step.active.tolist()], dtype=torch.float64)


def make_network(**options: Any) -> Network:
    torch.manual_seed(0)
    return Network(**options).train()


def make_batch(count: int = 4, seed: int = 1) -> Tensor:
    return torch.randn(count, 3, 12, 16, generator=torch.Generator().manual_seed(seed))


def make_step(active: tuple[int, ...] = (0, 1, 2), index: int = 0) -> Step:
    generator = torch.Generator().manual_seed(3)
    return Step(index, 0, torch.tensor(active), torch.ones(len(active)), generator)


def make(balancer: Balancer, network: nn.Module, passes: str = "auto") -> Engine:
    return make_engine(balancer, network, TASKS, Fabric(accelerator="cpu", devices=1), passes=passes)


def run(
    engine: Engine, network: Network, batches: list[Tensor], names: tuple[str, ...] = NAMES, index: int = 0
) -> dict[str, Tensor]:
    """Gradients by parameter name after one optimizer step's worth of micro-batches."""
    network.zero_grad()
    step = make_step(tuple(NAMES.index(name) for name in names), index)
    engine.begin(step)
    size = len(batches) // engine.batches
    for i, batch in enumerate(batches):
        losses = network(batch)
        engine.survey({name: [loss] for name, loss in losses.items()})
        engine.accumulate({name: losses[name] for name in names}, step, 1 / size, i // size)
    engine.diagnostics = engine.finish(step)  # type: ignore[attr-defined]
    return gradients(network)


def gradients(network: nn.Module) -> dict[str, Tensor]:
    return {n: p.grad.clone() for n, p in network.named_parameters() if p.grad is not None}


def plain(
    network: Network, batches: list[Tensor], names: tuple[str, ...] = NAMES
) -> dict[str, dict[str, Tensor]]:
    """Task -> parameter -> gradient of the mean loss over the batches, by plain backward passes."""
    found = {}
    for name in names:
        network.zero_grad()
        for batch in batches:
            (network(batch)[name] / len(batches)).backward()
        found[name] = gradients(network)
    network.zero_grad()
    return found


def expected(
    rows: dict[str, dict[str, Tensor]], weights: dict[str, float], own: dict[str, float]
) -> dict[str, Tensor]:
    """Shared parameters get the weighted sum, own ones their own gradient."""
    total: dict[str, Tensor] = {}
    for task, found in rows.items():
        for name, gradient in found.items():
            factor = own[task] if name.startswith("heads.") else weights[task]
            total[name] = total.get(name, 0) + factor * gradient
    return total


def gramian(rows: dict[str, dict[str, Tensor]]) -> Tensor:
    shared = sorted({n for found in rows.values() for n in found if not n.startswith("heads.")})
    example = {n: g for found in rows.values() for n, g in found.items()}
    flat = torch.stack(
        [torch.cat([f.get(n, torch.zeros_like(example[n])).flatten() for n in shared]) for f in rows.values()]
    ).double()
    return flat @ flat.T


def assert_same(found: dict[str, Tensor], reference: dict[str, Tensor], tolerance: float = 1e-4) -> None:
    assert found.keys() == reference.keys()
    for name, gradient in reference.items():
        error = float((found[name] - gradient).abs().max())
        assert error <= tolerance * float(gradient.abs().max()) + 1e-7, f"{name}: {error}"


def at_leaves(network: Network, batch: Tensor) -> tuple[list[Tensor], dict[str, Tensor]]:
    """The backbone's maps as independent leaves, and the losses that follow from them."""
    kept: list[Tensor] = []

    def cut(module: nn.Module, inputs: Any, outputs: list[Tensor]) -> list[Tensor]:
        kept.extend(o.detach().requires_grad_() for o in outputs)
        return kept

    handle = network.backbone.register_forward_hook(cut)
    losses = network(batch)
    handle.remove()
    return kept, losses


ONE = dict.fromkeys(NAMES, 1.0)
