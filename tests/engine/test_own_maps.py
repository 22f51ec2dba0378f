"""Maps that each task has for itself: a backbone that gives a dict, as some tunings do."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from engine_networks import NAMES, ONE, TASKS, Fixed, Squares, W, assert_same, make, make_batch, plain, run
from torch import Tensor, nn

PLACES = ("parameters", "representation", "last_layer")


class EachBackbone(nn.Module):
    """A convolution that all tasks share, and a factor of each."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.Conv2d(3, 8, 3, 2, 1)
        self.factors = nn.ParameterDict({name: nn.Parameter(torch.tensor(1.5)) for name in NAMES})

    def forward(self, x: Tensor) -> dict[str, list[Tensor]]:
        return {name: [torch.tanh(factor * self.shared(x))] for name, factor in self.factors.items()}


class EachNetwork(nn.Module):
    """A head a task, on the task's own map."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = EachBackbone()
        self.heads = nn.ModuleDict({name: nn.Conv2d(8, 1, 1) for name in NAMES})

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        maps = self.backbone(x)
        heads = enumerate(self.heads.items())
        return {name: (head(maps[name][0]) - i).square().mean() for i, (name, head) in heads}


def network() -> Any:
    torch.manual_seed(0)
    return EachNetwork().train()


def balanced(rows: dict[str, dict[str, Tensor]], weights: dict[str, float]) -> dict[str, Tensor]:
    """A task's factor and head get its own gradient, what is shared the weighted sum."""
    total: dict[str, Tensor] = {}
    for task, found in rows.items():
        for name, gradient in found.items():
            factor = weights[task] if ".shared." in name else 1.0
            total[name] = total.get(name, 0) + factor * gradient
    return total


@pytest.mark.parametrize("passes", ["auto", "sequential", "batched"])
def test_what_a_task_has_alone_is_not_weighed(passes: str) -> None:
    made, batches = network(), [make_batch(), make_batch(seed=2)]
    reference = balanced(plain(made, batches), W)
    engine = make(Fixed(TASKS), made, passes)
    for _ in range(2):
        assert_same(run(engine, made, batches), reference)
    shared = sum(p.numel() for p in made.backbone.shared.parameters())
    assert engine.record().shared_parameters == shared


@pytest.mark.parametrize("at", PLACES)
def test_weights_are_found_where_something_is_shared(at: Any) -> None:
    """Of the maps none is: there, weights stay 1, with a warning."""
    made, batch = network(), [make_batch()]
    rows = plain(made, batch)
    balancer = Fixed(TASKS, at=at)
    weights = ONE if at == "representation" else W
    assert_same(run(make(balancer, made), made, batch), balanced(rows, weights))
    if at != "representation":
        flat = torch.stack([rows[name]["backbone.shared.weight"].flatten() for name in NAMES]).double()
        if at == "parameters":
            bias = torch.stack([rows[name]["backbone.shared.bias"] for name in NAMES]).double()
            flat = torch.cat([flat, bias], 1)
        assert torch.allclose(balancer.gramian, flat @ flat.T, rtol=1e-4)


def test_rows_are_combined() -> None:
    made, batch = network(), [make_batch()]
    rows = plain(made, batch)
    found = run(make(Squares(TASKS), made), made, batch)
    name = "backbone.shared.weight"
    assert torch.allclose(
        found[name], sum(rows[task][name] * rows[task][name].abs() for task in NAMES), rtol=1e-4
    )


def test_frozen_below_but_for_each_tasks_own(caplog: pytest.LogCaptureFixture) -> None:
    """As adapters are trained: then tasks share nothing, and all keep their own gradients."""
    made, batch = network(), [make_batch()]
    made.backbone.shared.requires_grad_(False)
    rows = plain(made, batch)
    assert_same(run(make(Fixed(TASKS), made), made, batch), balanced(rows, W))
    assert "the tasks share nothing that trains" in caplog.text
    assert made.backbone.shared.weight.grad is None
