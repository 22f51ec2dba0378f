"""How often the encoder runs, and what of it trains, is counted, whatever a tuning put in its place."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from mtlbench.backbones.base import Backbone
from mtlbench.model import Method
from mtlbench.profiling import count_network
from mtlbench.registry import registry
from mtlbench.testing.methods import tiny_tasks
from mtlbench.testing.tunings import NoBackbone, TinyHeads, TinyHybrid

SIZE = (32, 48)


class EachTask(nn.Module):
    """A pass for each task, with a trained factor of its own; `batched`: all of them in one batch."""

    def __init__(self, trunk: Backbone, tasks: list[str], *, batched: bool) -> None:
        super().__init__()
        self.trunk, self.batched = trunk.requires_grad_(False), batched
        self.channels, self.strides, self.normalise = trunk.channels, trunk.strides, trunk.normalise
        self.factors = nn.ParameterDict({task: nn.Parameter(torch.ones(1)) for task in tasks})

    def forward(self, images: Tensor) -> dict[str, list[Tensor]]:
        factors = list(self.factors.values())
        if self.batched:
            maps = self.trunk(torch.cat([images * factor for factor in factors]))
            parts = zip(*(x.chunk(len(factors)) for x in maps), strict=True)
        else:
            parts = (self.trunk(images * factor) for factor in factors)
        return {task: list(part) for task, part in zip(self.factors, parts, strict=True)}


def heads() -> Method:
    return TinyHeads(TinyHybrid(), tiny_tasks())


def test_one_pass_serves_all_tasks() -> None:
    counts = count_network(heads(), SIZE)
    assert counts.encoder_passes == 1
    assert counts.encoder_trainable == sum(p.numel() for p in TinyHybrid().parameters())
    assert counts.encoder_trainable + counts.decoder_trainable == counts.trainable == counts.parameters


@pytest.mark.parametrize("batched", [False, True])
def test_a_pass_for_each_task(batched: bool) -> None:
    network = heads()
    names = list(network.tasks)
    network.backbone = EachTask(network.backbone, names, batched=batched)  # type: ignore[assignment]
    counts = count_network(network, SIZE)
    assert counts.encoder_passes == len(names) > 1
    assert counts.encoder_trainable == len(names)
    assert counts.decoder_trainable == counts.trainable - len(names) > 0


def test_a_backbone_for_each_task() -> None:
    network = heads()
    second = network.second = TinyHybrid()
    forward = network.forward

    def both(images: Tensor) -> object:
        second(images)
        return forward(images)

    network.forward = both  # type: ignore[assignment,method-assign]
    assert count_network(network, SIZE).encoder_passes == 2


def test_adapters_at_the_first_layer_are_no_further_pass() -> None:
    network = registry.load("tuning", "lora")(targets=("convs.0",)).apply(heads())
    counts = count_network(network, SIZE)
    assert counts.encoder_passes == 1
    assert counts.encoder_trainable == 4 * (3 * 9 + 8)


def test_no_encoder() -> None:
    counts = count_network(NoBackbone(None, tiny_tasks()), SIZE)
    assert counts.encoder_passes == counts.encoder_trainable == 0
    assert counts.decoder_trainable == counts.trainable > 0
