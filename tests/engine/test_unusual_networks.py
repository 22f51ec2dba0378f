"""Networks whose parameters and calls are not those of plain layers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from engine_networks import (
    NAMES,
    ONE,
    TASKS,
    Backbone,
    CrossFixed,
    Fixed,
    Network,
    OwnWeighted,
    Squares,
    W,
    assert_same,
    expected,
    make,
    make_batch,
    make_network,
    plain,
    run,
)
from torch import Tensor, nn


class Embedded(nn.Module):
    """Per task two embeddings whose gradients are one tensor, for one image the map's too, and an offset,
    whose gradient is one number repeated.
    """

    def __init__(self) -> None:
        super().__init__()
        self.backbone = Backbone()
        self.heads = nn.ModuleDict(
            {
                name: nn.ParameterDict(
                    {
                        "first": torch.randn(1, 8, 6, 8),
                        "second": torch.randn(1, 8, 6, 8),
                        "offset": torch.zeros(3),
                    }
                )
                for name in NAMES
            }
        )

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        fine, coarse = self.backbone(x)
        return {
            name: (fine + head["first"] + head["second"]).square().mean()
            + coarse.mean()
            + head["offset"].sum()
            for name, head in self.heads.items()
        }


@pytest.mark.parametrize("at", ["parameters", "representation", "last_layer"])
@pytest.mark.parametrize("parts", [1, 2])
def test_gradients_that_share_memory(at: Any, parts: int) -> None:
    torch.manual_seed(0)
    network = Embedded().train()
    network.backbone.stem[1].eval()
    batches = list(make_batch(parts).split(1))
    reference = expected(plain(network, batches), W, {"a": 3.0, "b": 4.0, "c": 5.0})  # type: ignore[arg-type]
    found = run(make(OwnWeighted(TASKS, at=at), network), network, batches)  # type: ignore[arg-type]
    assert_same(found, reference)
    whole = torch.stack([g.norm() for g in reference.values()]).norm()
    nn.utils.clip_grad_norm_(network.parameters(), 0.5 * float(whole))
    clipped = {n: p.grad for n, p in network.named_parameters() if p.grad is not None}
    assert_same(clipped, {n: 0.5 * g for n, g in reference.items()})


class Named(Network):
    """Gives its layers their inputs by name."""

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        first, second = self.backbone(x)
        assert self.mix is not None
        deep = nn.functional.interpolate(self.mix(input=second), size=first.shape[-2:])
        joined = torch.cat([first, deep], 1)
        return {name: (self.heads[name](input=joined) - i).square().mean() for i, name in enumerate(NAMES)}


def test_inputs_by_name() -> None:
    torch.manual_seed(0)
    network, batch = Named().train(), make_batch()
    found = run(make(Fixed(TASKS), network), network, [batch])
    assert_same(found, expected(plain(network, [batch]), W, ONE))


@pytest.mark.parametrize(
    "balancer",
    [
        Fixed(TASKS),
        Fixed(TASKS, at="representation"),
        Fixed(TASKS, at="last_layer"),
        Squares(TASKS),
        Squares(TASKS, at="representation"),
        CrossFixed(TASKS),
    ],
    ids=lambda balancer: f"{type(balancer).__name__} {balancer.at}",
)
def test_what_only_absent_tasks_share_has_no_gradient(balancer: Any) -> None:
    """Not even zeros, under which an optimizer would let it decay."""
    network = make_network()
    engine = make(balancer, network)
    for names in (NAMES, ("c",), ("a", "c")):
        found = run(engine, network, [make_batch()] * engine.batches, names)
        assert ("mix.weight" in found) == ("a" in names)
        assert "backbone.flat.weight" in found
