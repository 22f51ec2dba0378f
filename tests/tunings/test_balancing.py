"""Gradient balancers find the gradients of what a tuning trains, adapters included."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch
from engine_networks import (
    ONE,
    TASKS,
    Fixed,
    Network,
    W,
    assert_same,
    expected,
    make,
    make_batch,
    plain,
    run,
)
from torch import nn

from mtlbench.registry import registry

TUNINGS: dict[str, tuple[str, dict[str, Any]]] = {
    "decoder": ("decoder", {}),
    "bitfit": ("bitfit", {"norms": True}),
    "lora": ("lora", {}),
    "dora": ("lora", {"dora": True, "targets": "all-linear", "bias": "all"}),
}
NOTHING = {("decoder", "representation"), ("decoder", "last_layer"), ("bitfit", "last_layer")}
"""Where the three tasks share no trained weight, or none of their maps need a gradient."""


class Tunable(Network):
    """With a dilated convolution in its backbone, and what tunings ask of a network."""

    needs_backbone = True

    def __init__(self) -> None:
        super().__init__()
        self.backbone.late[0] = nn.Conv2d(8, 40, 3, 2, 2, dilation=2)

    def backbone_parameters(self) -> list[nn.Parameter]:
        return list(self.backbone.parameters())


@pytest.mark.parametrize("at", ["parameters", "representation", "last_layer"])
@pytest.mark.parametrize("tuning", TUNINGS)
def test_gradients(tuning: str, at: Any, caplog: pytest.LogCaptureFixture) -> None:
    name, options = TUNINGS[tuning]
    torch.manual_seed(0)
    network: Any = registry.load("tuning", name)(**options).apply(Tunable())
    with torch.no_grad():
        for p in network.parameters():  # an update that is zero would hide others
            p.add_(torch.randn_like(p), alpha=0.05 * p.requires_grad)
    nothing = (tuning, at) in NOTHING
    weights = ONE if nothing else W
    reference = expected(plain(network.train(), [make_batch()]), weights, ONE)
    with caplog.at_level(logging.WARNING):
        found = run(make(Fixed(TASKS, at=at), network), network, [make_batch()])
    assert_same(found, reference)
    assert found.keys() == {name for name, p in network.named_parameters() if p.requires_grad}
    assert ("share nothing that trains" in caplog.text) == nothing
