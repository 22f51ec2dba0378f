"""What tunings train of real backbones, and what they refuse."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

from mtlbench.backbones.timm_features import TimmFeatures
from mtlbench.errors import MtlbenchError
from mtlbench.registry import registry
from mtlbench.testing import tiny_tasks
from mtlbench.testing.tunings import TinyHeads, TinyHybrid

QKV = ("attn.qkv",)
ALL4 = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
MTLORA = ("norm", "patch_embed", "relative_position_bias_table", "downsample.reduction")
OUTPUT_NORMS = 2 * (96 + 192 + 384 + 768)
"""Parameters of the norms of our Swin's four maps, which timm's, that the numbers are known of, hasn't."""

SWIN_T: list[tuple[str, dict[str, Any], int]] = [
    ("full", {}, 27_517_818 + OUTPUT_NORMS),
    ("decoder", {}, 0),
    ("bitfit", {}, 51_456 + OUTPUT_NORMS // 2),
    ("bitfit", {"also": ("relative_position_bias_table",)}, 74_778 + OUTPUT_NORMS // 2),
    ("lora", {"targets": QKV}, 70_656),
    ("lora", {"targets": (*QKV, "attn.proj")}, 105_984),
    ("lora", {"targets": ALL4}, 282_624),
    ("lora", {}, 282_624),
    ("lora", {"targets": "all-linear"}, 298_752),
    ("lora", {"r": 16, "alpha": 64.0}, 1_130_496),
    ("lora", {"r": 16, "alpha": 64.0, "also": MTLORA}, 2_730_042 + OUTPUT_NORMS),
    ("lora", {"bias": "lora_only"}, 322_368),
    ("lora", {"bias": "all"}, 334_080 + OUTPUT_NORMS // 2),
    ("lora", {"dora": True, "targets": QKV}, 83_904),
    ("lora", {"dora": True}, 322_368),
    ("dora", {}, 322_368),
    ("lora", {"targets": QKV, "per_task": True}, 282_624),
    ("lora", {"targets": (*QKV, "attn.proj"), "per_task": True}, 423_936),
    ("bitfit", {"also": ("relative_position_bias_table",), "per_task": True}, 299_112 + 2 * OUTPUT_NORMS),
    ("ia3", {}, 52_992),
    ("ia3", {"targets": (*QKV, "attn.proj", "mlp.fc2")}, 35_328),
    ("vera", {"targets": QKV}, 16_320),
    ("vera", {}, 52_032),
    ("adapter", {}, 8_688_000),
    ("vpt_shallow", {}, 19_200),
    ("vpt_deep", {}, 883_200),
    ("lora", {"targets": r"layers\.3\.blocks\.\d+\.attn\.qkv"}, 24_576),
]


def tuned(tuning: str, options: dict[str, Any], backbone: nn.Module) -> Any:
    return registry.load("tuning", tuning)(**options).apply(TinyHeads(backbone, tiny_tasks()))  # type: ignore[arg-type]


@pytest.mark.parametrize(("tuning", "options", "expected"), SWIN_T)
def test_counts_on_swin_t(tuning: str, options: dict[str, Any], expected: int) -> None:
    with torch.device("meta"):
        network = tuned(tuning, options, registry.load("backbone", "swin-t")())
    assert sum(p.numel() for p in network.backbone.parameters() if p.requires_grad) == expected


@pytest.mark.parametrize("dora", [False, True], ids=["lora", "dora"])
@pytest.mark.parametrize("name", ["hrnet18", "swin-t", "resnet18-dilated", "efficientnet-lite0"])
def test_adapters_of_real_backbones(name: str, dora: bool) -> None:
    """They leave the maps as they are at first, and all of them get a gradient."""
    torch.manual_seed(0)
    backbone, images = registry.load("backbone", name)().eval(), torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        expected = backbone(images)
    network = tuned("lora", {"dora": dora}, backbone).eval()
    for layer in (m for m in network.modules() if isinstance(getattr(m, "lora_B", None), nn.ModuleDict)):
        assert not layer.lora_B["default"].weight.any()
    maps = network.backbone(images)
    for value, original in zip(maps, expected, strict=True):
        torch.testing.assert_close(value, original, rtol=1e-3, atol=1e-4 * float(original.abs().max()))
    torch.stack([value.square().mean() for value in maps]).sum().backward()
    adapters = {n: p for n, p in network.backbone.named_parameters() if "lora_" in n}
    assert adapters
    assert not [n for n, p in adapters.items() if p.grad is None]
    assert all(p.grad.any() for n, p in adapters.items() if "lora_B" in n and p.grad is not None)


@pytest.mark.parametrize("tuning", ["lora", "ia3"])
def test_swin_v2_uses_the_layers_that_are_adapted(tuning: str) -> None:
    sizes = {"embed_dim": 8, "depths": (1,) * 4, "num_heads": (1, 2, 2, 2), "window_size": 2, "img_size": 32}
    trunk = timm.create_model("swinv2_tiny_window8_256", features_only=True, **sizes)
    network = tuned(tuning, {}, TimmFeatures(trunk))
    torch.stack(
        [x.square().mean() for x in network(torch.randn(1, 3, 32, 32)).final.values()]
    ).sum().backward()
    trained = {n: p for n, p in network.backbone.named_parameters() if p.requires_grad}
    assert any("attn.qkv" in name for name in trained)
    assert not [name for name, p in trained.items() if p.grad is None]


def test_a_frozen_backbone_keeps_its_statistics() -> None:
    """And a trained decoder's batch norm goes on collecting."""
    images = torch.randn(2, 3, 32, 48)
    for mode, changes in (("eval", False), ("train", True)):
        network = tuned("decoder", {"backbone_mode": mode}, TinyHybrid()).train()
        before = {name: value.clone() for name, value in network.named_buffers()}
        network(images)
        moved = {name for name, value in network.named_buffers() if not torch.equal(value, before[name])}
        assert any(name.startswith("backbone.") for name in moved) == changes
        assert "norm.running_mean" in moved


def test_dropout_of_adapters_acts_in_a_backbone_in_evaluation() -> None:
    options = {"dropout": 0.5, "backbone_mode": "eval"}
    network = tuned("lora", options, TinyHybrid())
    training = {name for name, module in network.train().backbone.named_modules() if module.training}
    assert any("lora_dropout" in name for name in training)
    assert not any(isinstance(network.get_submodule(f"backbone.{name}"), nn.BatchNorm2d) for name in training)


class Multihead(TinyHybrid):
    """With torch's own attention, and a grouped convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2)
        self.grouped = nn.Conv2d(8, 8, 3, groups=8)


@pytest.mark.parametrize(
    ("options", "backbone", "message"),
    [
        ({"r": 0}, TinyHybrid, "`r` must be >= 1, got 0"),
        ({"alpha": 0.0}, TinyHybrid, "`alpha` must be > 0"),
        ({"dropout": 1.0}, TinyHybrid, r"`dropout` must be in \[0, 1\), got 1.0"),
        ({"targets": ("qkv", "q_proj")}, TinyHybrid, r"`q_proj` names none .*convs\.\* \(4\)"),
        ({"targets": "norms.*"}, TinyHybrid, r"`norms\.\*` names none .*block\.attn\.qkv \(1\)"),
        ({"targets": ("grouped",)}, Multihead, "convolutions that are not grouped"),
        ({"targets": "(unclosed"}, TinyHybrid, "must be a regular expression"),
        ({"also": ("positions",)}, TinyHybrid, "`also`: no parameter of the backbone has `positions`"),
        ({}, Multihead, "nn.MultiheadAttention`, which `attention` is"),
        ({"targets": ("attention",)}, Multihead, "nn.MultiheadAttention"),
        ({"targets": ("out_proj",)}, Multihead, "which `attention.out_proj` is or belongs to"),
    ],
)
def test_lora_refuses(options: dict[str, Any], backbone: type[nn.Module], message: str) -> None:
    with pytest.raises(MtlbenchError, match=message):
        tuned("lora", options, backbone())


def test_vera_refuses_convolutions() -> None:
    with pytest.raises(MtlbenchError, match=r"`convs\.0` is a convolution: .* or take `lora`"):
        tuned("vera", {"targets": ("qkv", "convs.0")}, TinyHybrid())


def test_lora_beside_torchs_own_attention() -> None:
    network = tuned("lora", {"targets": ("qkv",)}, Multihead())
    trained = [name for name, p in network.backbone.named_parameters() if p.requires_grad]
    assert [name.split(".lora_")[0] for name in trained] == ["block.attn.qkv"] * 2


def test_lora_without_peft(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(MtlbenchError, match=r"tuning `lora` needs `peft`.*pip install 'mtlbench\[peft\]'"):
        tuned("lora", {}, TinyHybrid())


class Bare(TinyHybrid):
    """No parameter but one."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.channels = [8] * 4
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, images: Tensor) -> list[Tensor]:
        return [images.mean(1, keepdim=True).expand(-1, 8, -1, -1) * self.scale] * 4


@pytest.mark.parametrize(
    ("tuning", "message"), [("bitfit", "with biases"), ("lora", "linear layers or conv")]
)
def test_nothing_to_tune(tuning: str, message: str) -> None:
    with pytest.raises(MtlbenchError, match=message):
        tuned(tuning, {}, Bare())
