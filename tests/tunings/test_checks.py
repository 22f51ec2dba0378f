"""The checks of tunings find what they are for."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mtlbench.model import Method, Outputs
from mtlbench.testing import tunings as checks
from mtlbench.tuning import Tuning, freeze_backbone


class Heads(Tuning):
    """Its own decoder, one that starts otherwise."""

    def apply(self, network: Method) -> Method:
        nn.init.zeros_(network.get_submodule("mix").get_parameter("weight"))
        return network


class Frozen(Tuning):
    """The decoder doesn't train."""

    def apply(self, network: Method) -> Method:
        network.get_submodule("heads").requires_grad_(False)
        return network


class Unreached(Tuning):
    """Adds what no prediction depends on."""

    def apply(self, network: Method) -> Method:
        network.backbone.register_parameter("prompt", nn.Parameter(torch.zeros(8)))
        return network


class Drifting(Tuning):
    """Frozen weights change in every pass in training."""

    def apply(self, network: Method) -> Method:
        freeze_backbone(network, "train")
        network.backbone.register_forward_hook(drift)
        return network


def drift(backbone: nn.Module, inputs: tuple[Tensor, ...], maps: list[Tensor]) -> None:
    with torch.no_grad():
        backbone.get_submodule("convs.0").get_parameter("weight").mul_(1.001 if backbone.training else 1.0)


class StuckInTraining(Tuning):
    """Dropout in evaluation."""

    def apply(self, network: Method) -> Method:
        block = network.backbone.get_submodule("block")
        block.train = lambda mode=True: block  # type: ignore[method-assign,assignment]
        return network


class Counting(Tuning):
    """What it adds depends on how many passes there were in this process."""

    def apply(self, network: Method) -> Method:
        passes = iter(range(1000))
        network.backbone.register_forward_hook(partial(add_count, passes))
        return network


def add_count(passes: Any, module: nn.Module, inputs: tuple[Tensor, ...], maps: list[Tensor]) -> list[Tensor]:
    factor = 1 + 0.01 * next(passes) if module.training else 1.0
    return [x * factor for x in maps]


class ByValue(Tuning):
    """Looks at values, which there are none of ahead of a grid."""

    def apply(self, network: Method) -> Method:
        weight = network.backbone.get_submodule("convs.0").get_parameter("weight")
        weight.requires_grad_(weight.device.type == "meta")
        return network


class Shortened(Tuning):
    """Leaves the attention out."""

    def apply(self, network: Method) -> Method:
        network.backbone.block = nn.Identity()
        return network


class Leftover(Tuning):
    """Adds a factor, and forgets to merge it."""

    def apply(self, network: Method) -> Method:
        network.backbone.register_module("block", nn.Sequential(network.backbone.block, nn.LayerNorm(8)))
        return network


class Lossy(Tuning):
    """Loses what it merges."""

    def merge(self, network: Method) -> str | None:
        with torch.no_grad():
            network.backbone.get_submodule("convs.0").get_parameter("weight").mul_(1.1)
        return None

    def apply(self, network: Method) -> Method:
        return network


class Claiming(Leftover):
    """Says that it can't be merged, and changes names all the same."""

    def merge(self, network: Method) -> str | None:
        network.backbone.register_buffer("merged", torch.ones(1))
        return "norms are not linear"


class OneTask(Tuning):
    """Loses predictions."""

    def apply(self, network: Method) -> Method:
        network.register_forward_hook(lambda m, i, o: Outputs(dict(list(o.final.items())[:1])))
        return network


class Everything(Tuning):
    """Freezes what has no backbone."""

    def apply(self, network: Method) -> Method:
        return network.requires_grad_(network.needs_backbone)


BROKEN: list[tuple[type[Tuning], Callable[..., None], str]] = [
    (Heads, checks.check_predictions, "from the untuned prediction"),
    (OneTask, checks.check_predictions, "predictions of"),
    (Heads, checks.check_initial_weights, "`mix.weight` starts otherwise"),
    (Shortened, checks.check_initial_weights, "nothing starts with the weights of `backbone.block"),
    (Frozen, checks.check_training, "of the decoder does not train"),
    (Unreached, checks.check_training, "`backbone.prompt` lacks a gradient"),
    (Drifting, checks.check_training, "`backbone.convs.0.weight` moved"),
    (StuckInTraining, checks.check_modes, "in evaluation these still train"),
    (Counting, checks.check_resume, "differs after a stop"),
    (ByValue, checks.check_meta, "other shapes"),
    (Shortened, checks.check_costs, "MACs, untuned"),
    (Leftover, checks.check_merging, "entries of the tuning"),
    (Lossy, checks.check_merging, "merging changes predictions"),
    (Claiming, checks.check_merging, "but is changed"),
    (Everything, checks.check_without_backbone, "has no backbone"),
]


@pytest.mark.parametrize(
    ("tuning", "check", "message"), BROKEN, ids=[f"{t.__name__}-{c.__name__}" for t, c, _ in BROKEN]
)
def test_broken_tunings(tuning: type[Tuning], check: Callable[..., None], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check(tuning)
