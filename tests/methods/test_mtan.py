"""MTAN on ResNets: conformance, numbers of parameters, what it attends to."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from golden_cases import parameters
from mtlbench.methods.mtan import MTAN
from tiny_resnet import TinyResNet
from torch import nn

from mtlbench.backbones.build import build_backbone
from mtlbench.backbones.halves import stage_halves
from mtlbench.errors import MtlbenchError
from mtlbench.profiling import count_module_macs
from mtlbench.tasks import Task
from mtlbench.testing import METHOD_CHECKS, TinyBackbone, tiny_tasks


def tiny(backbone: Any, tasks: Any) -> MTAN:
    """On a tiny ResNet, whose maps have half the size after each stage or as in a dilated one."""
    halving = getattr(backbone, "strides", ())[-1] == 32
    return MTAN(TinyResNet((4, 2, 2, 2) if halving else (4, 2, 1, 1)), tasks)


@pytest.mark.parametrize("check", METHOD_CHECKS, ids=lambda check: check.__name__)
def test_conformance(check: Any) -> None:
    check(tiny)


def tasks_with(channels: dict[str, int]) -> dict[str, Task]:
    return {name: replace(tiny_tasks()["depth"], name=name, channels=k) for name, k in channels.items()}


@pytest.mark.parametrize(
    ("backbone", "channels", "size", "expected", "macs"),
    [
        ("resnet50-dilated", {"semseg": 40, "depth": 1}, (480, 640), 72_052_713, 394.3),
        (
            "resnet18-dilated",
            {"semseg": 21, "human_parts": 7, "sal": 1, "normals": 3, "edge": 1},
            (512, 512),
            36_613_425,
            159.2,
        ),
    ],
)
def test_number_of_parameters_and_macs(
    backbone: str, channels: dict[str, int], size: tuple[int, int], expected: int, macs: float
) -> None:
    with torch.device("meta"):
        network = MTAN(build_backbone(backbone), tasks_with(channels))
        assert parameters(network) == expected
        # published: convolutions alone
        assert count_module_macs(network, size) / 1e9 == pytest.approx(macs, rel=0.01)


@torch.no_grad()
def test_halves_are_what_the_last_block_gets_and_gives() -> None:
    backbone = build_backbone("resnet18").eval()
    image = torch.randn(1, 3, 53, 71)
    halves, trunk = stage_halves(backbone, image), backbone.trunk
    for i, ((before, after), expected) in enumerate(zip(halves, backbone(image), strict=True), start=1):
        assert torch.equal(after, expected)
        assert torch.equal(getattr(trunk, f"layer{i}")[-1](before), after)
    assert not any(module._forward_pre_hooks for module in backbone.modules())


@torch.no_grad()
def test_with_masks_of_one_the_head_sees_the_last_stage() -> None:
    network = MTAN(TinyResNet(), tiny_tasks()).eval()
    for masks in network.attention.values():
        for attend in masks.values():
            nn.init.constant_(attend[-2].bias, 100.0)
    image = torch.randn(1, 3, 40, 56)
    halves = dict(zip(network.attention, stage_halves(network.backbone, image), strict=True))
    torch.testing.assert_close(network._attend("depth", halves), network.backbone(image)[-1])


def test_only_resnets() -> None:
    assert MTAN.unsupported(["depth"], "resnet50-dilated") is None
    assert MTAN.unsupported(["depth"], "wide_resnet50_2") is None
    assert MTAN.unsupported(["depth"], "resnetv2_50")
    assert "blocks of a ResNet, got swin-t" in str(MTAN.unsupported(["depth"], "swin-t"))
    with pytest.raises(MtlbenchError, match=r"a ResNet is needed, with stages layer1, .*, got TinyBackbone"):
        MTAN(TinyBackbone(), tiny_tasks())
