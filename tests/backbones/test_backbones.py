"""Backbones: sizes, names, parameter counts."""

import math

import pytest
import timm
import torch

from mtlbench.backbones.base import pad_to_multiple
from mtlbench.backbones.build import build_backbone
from mtlbench.errors import MtlbenchError
from mtlbench.registry import registry

PUBLISHED = {
    "hrnet18": 3_860_720,
    "hrnet48": 65_325_120,
    "swin-t": 27_520_698,
    "swin-s": 48_838_602,
    "swin-b": 86_745_016,
    "swin-l": 194_998_164,
    "swin-l-384": 195_201_204,
    "vit-b": 86_432_256,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_number_of_parameters(name: str) -> None:
    with torch.device("meta"):
        backbone = build_backbone(name)
    assert sum(p.numel() for p in backbone.parameters()) == PUBLISHED[name]


@pytest.mark.parametrize(
    "name",
    [
        "resnet18",
        "efficientnet-lite0",
        "hrnet18",
        "swin-t",
        "vit-b",
        "convnext_atto",
        "swinv2_tiny_window8_256",
    ],
)
def test_maps_of_any_image_size(name: str) -> None:
    backbone = build_backbone(name).eval()
    for size in ((64, 96), (65, 97), (33, 50)):
        with torch.no_grad():
            maps = backbone(torch.randn(2, 3, *size))
        sizes = [
            (2, c, *(math.ceil(side / s) for side in size))
            for c, s in zip(backbone.channels, backbone.strides, strict=True)
        ]
        assert [tuple(x.shape) for x in maps] == sizes


def test_every_parameter_of_the_small_ones_is_trained() -> None:
    for name in ("resnet18", "efficientnet-lite0", "hrnet18", "swin-t"):
        backbone = build_backbone(name)
        sum(x.square().mean() for x in backbone(torch.randn(2, 3, 64, 96))).backward()
        assert [n for n, p in backbone.named_parameters() if p.grad is None] == [], name


def test_hrnet_is_timms_where_timm_upsamples_bilinearly() -> None:
    torch.manual_seed(0)
    theirs = timm.create_model(
        "hrnet_w18_small_v2", features_only=True, feature_location="", out_indices=(1, 2, 3, 4)
    )
    ours = build_backbone("hrnet18")
    ours.load_state_dict(theirs.state_dict())
    for module in theirs.modules():
        if isinstance(module, torch.nn.Upsample):
            module.mode = "bilinear"
    images = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        for a, b in zip(ours.eval()(images), theirs.eval()(images), strict=True):
            torch.testing.assert_close(a, b)


def test_swin_is_timms_where_no_window_is_padded() -> None:
    torch.manual_seed(0)
    theirs = timm.create_model("swin_tiny_patch4_window7_224", num_classes=0, always_partition=True).eval()
    ours = build_backbone("swin-t").eval()
    ours.load_state_dict(
        {k: v for k, v in theirs.state_dict().items() if not k.startswith("norm.")}, strict=False
    )
    images = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        expected = theirs.forward_intermediates(images, intermediates_only=True)
        for i, (a, b) in enumerate(zip(ours(images), expected, strict=True)):
            norm = ours.get_submodule(f"norm{i}")
            torch.testing.assert_close(a, norm(b.movedim(1, -1)).movedim(-1, 1), atol=1e-4, rtol=1e-4)


def test_unknown_names_get_near_ones_of_ours_and_timms() -> None:
    with pytest.raises(MtlbenchError, match="`hrnet18` or `hrnet_w18`"):
        build_backbone("hrnett18")
    with pytest.raises(MtlbenchError, match=r"valid: efficientnet-lite0, .*, or the name of a timm model"):
        build_backbone("qqqq")


def test_timm_models_without_the_maps_are_refused() -> None:
    with pytest.raises(MtlbenchError, match="strides 4, 8, 16 and 32; timm's `vit_tiny_patch16_224` has"):
        build_backbone("vit_tiny_patch16_224")
    with pytest.raises(MtlbenchError, match="must take images of any size; timm's `gcvit_xxtiny` doesn't"):
        build_backbone("gcvit_xxtiny")


def test_all_backbones_have_a_summary() -> None:
    assert all(plugin.summary for plugin in registry.plugins("backbone"))


def test_padding_is_right_and_below() -> None:
    padded = pad_to_multiple(torch.ones(1, 1, 3, 5), 4)
    assert padded.shape == (1, 1, 4, 8)
    assert padded[0, 0, :3, :5].min() == 1
    assert padded.sum() == 15


def test_normalise_uses_the_backbones_colours() -> None:
    white = torch.full((1, 3, 2, 2), 255, dtype=torch.uint8)
    backbone = build_backbone("resnet18")
    assert backbone.normalise(white)[0, :, 0, 0].tolist() == pytest.approx([2.2489, 2.4286, 2.64], abs=1e-3)
