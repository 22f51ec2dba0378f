"""ResNets with strides 4, 8, 8, 8: sizes, dilations, weights."""

import math
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from torch import nn

from mtlbench.backbones.build import build_backbone


@pytest.mark.parametrize("size", [(64, 96), (53, 71)])
def test_maps_of_any_image_size(size: tuple[int, int]) -> None:
    backbone = build_backbone("resnet18-dilated").eval()
    assert backbone.strides == (4, 8, 8, 8)
    with torch.no_grad():
        maps = backbone(torch.randn(2, 3, *size))
    expected = [
        (2, c, *(math.ceil(side / s) for side in size))
        for c, s in zip((64, 128, 256, 512), (4, 8, 8, 8), strict=True)
    ]
    assert [tuple(x.shape) for x in maps] == expected


@pytest.mark.parametrize(("name", "convolution"), [("resnet18", "conv1"), ("resnet50", "conv2")])
def test_the_first_dilated_convolution_has_the_dilation_before(name: str, convolution: str) -> None:
    with torch.device("meta"):
        trunk = build_backbone(f"{name}-dilated").trunk
    for stage, before, dilation in ((trunk.layer3, 1, 2), (trunk.layer4, 2, 4)):
        convs = {n: m for n, m in stage.named_modules() if isinstance(m, nn.Conv2d)}
        assert {m.stride for m in convs.values()} == {(1, 1)}
        found = {n: m.dilation[0] for n, m in convs.items() if m.kernel_size == (3, 3)}
        assert found.pop(f"0.{convolution}") == before
        assert set(found.values()) == {dilation}


@pytest.mark.parametrize("classifier", [True, False])
def test_torchvisions_file(tmp_path: Path, classifier: bool) -> None:
    torch.manual_seed(0)
    theirs = torchvision.models.resnet18()
    state = {k: v for k, v in theirs.state_dict().items() if classifier or not k.startswith("fc.")}
    torch.save(state, tmp_path / "resnet18.pth")
    ours = build_backbone("resnet18-dilated", weights=str(tmp_path / "resnet18.pth")).state_dict()
    expected = {f"trunk.{k}": v for k, v in theirs.state_dict().items() if not k.startswith("fc.")}
    assert ours.keys() == expected.keys()
    assert all(torch.equal(ours[key], value) for key, value in expected.items())


def test_timms_file_is_that_of_the_plain_network(tmp_path: Path) -> None:
    torch.save(timm.create_model("resnet18").state_dict(), tmp_path / "timm.pth")
    dilated, plain = (
        build_backbone(name, weights=str(tmp_path / "timm.pth")) for name in ("resnet18-dilated", "resnet18")
    )
    images = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        for ours, theirs in zip(dilated.eval()(images)[:2], plain.eval()(images)[:2], strict=True):
            torch.testing.assert_close(ours, theirs)


def test_residual_branches_start_at_work() -> None:
    torch.manual_seed(0)
    with_residual = build_backbone("resnet18-dilated").trunk.layer4[1]
    assert with_residual.bn2.weight.min() == 1
