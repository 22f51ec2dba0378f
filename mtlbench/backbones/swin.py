"""Swin as DeMT and DeGMix use it (the layout of mmsegmentation 0.5), from timm's layers, under its names."""

from typing import Any, ClassVar

import torch
from timm.models.swin_transformer import window_partition, window_reverse
from torch import Tensor, nn
from torch.nn import functional as F

from mtlbench.backbones.base import Backbone, pad_to_multiple
from mtlbench.backbones.weights import timm_model, with_weights
from mtlbench.published import Rule

WINDOW = 7
SHIFT = WINDOW // 2


def merge_order(x: Tensor) -> Tensor:
    """Published patch merging -> timm's: the last axis, 4C, goes from order (c, kh, kw) to (kw, kh, c)."""
    width = x.shape[-1] // 4
    return x[..., torch.arange(4 * width).view(width, 2, 2).permute(2, 1, 0).flatten()]


class Swin(Backbone):
    """Shifted-window transformer; each stage's output gets a LayerNorm of its own (`norm0` ... `norm3`).

    Against timm: images are padded to a multiple of 4, maps to a multiple of the window *before* they are
    rolled (timm: after), and windows are shifted on any map (timm: only on maps larger than a window).
    Parameters are timm's and the output norms, which ImageNet weights lack.
    """

    published_keys: ClassVar[tuple[Rule, ...]] = (
        Rule(r".*\.relative_position_index$", None),  # an integer buffer, the same for all
        Rule(r"patch_embed\.projection\.", "patch_embed.proj."),
        Rule(r"stages\.(\d)\.blocks\.(\d+)\.attn\.w_msa\.", r"layers.\1.blocks.\2.attn."),
        Rule(r"stages\.(\d)\.blocks\.(\d+)\.ffn\.layers\.0\.0\.", r"layers.\1.blocks.\2.mlp.fc1."),
        Rule(r"stages\.(\d)\.blocks\.(\d+)\.ffn\.layers\.1\.", r"layers.\1.blocks.\2.mlp.fc2."),
        *(Rule(rf"stages\.{i}\.downsample\.", f"layers.{i + 1}.downsample.", merge_order) for i in range(3)),
        Rule(r"stages\.", "layers."),
    )
    timm_keys: ClassVar[tuple[Rule, ...]] = (
        Rule(r".*\.(relative_position_index|attn_mask)$", None),
        Rule(r"layers_(\d)\.", r"layers.\1."),
    )
    without_weights = r"norm\d\."

    def __init__(self, trunk: Any) -> None:
        super().__init__()
        self.channels = [info["num_chs"] for info in trunk.feature_info]
        self.patch_embed = trunk.patch_embed
        self.layers = trunk.layers
        for i, channels in enumerate(self.channels):
            self.add_module(f"norm{i}", nn.LayerNorm(channels))

    def forward(self, images: Tensor) -> list[Tensor]:
        x = self.patch_embed(pad_to_multiple(images, 4))  # (B, H/4, W/4, C): channels last throughout
        maps = []
        for i, stage in enumerate(self.layers):
            x = stage.downsample(x)
            mask = shift_mask(*x.shape[1:3], device=x.device, dtype=x.dtype)
            for j, block in enumerate(stage.blocks):
                x = apply_block(block, x, mask if j % 2 else None)
            maps.append(getattr(self, f"norm{i}")(x).permute(0, 3, 1, 2).contiguous())
        return maps


def apply_block(block: Any, x: Tensor, mask: Tensor | None) -> Tensor:
    """A block of timm (`SwinTransformerBlock`) with the published attention; shifted if there is a mask."""
    x = x + block.drop_path1(window_attention(block.attn, block.norm1(x), mask))
    return x + block.drop_path2(block.mlp(block.norm2(x)))


def window_attention(attention: Any, x: Tensor, mask: Tensor | None) -> Tensor:
    """Attention within windows: pad, roll, attend, roll back, crop.

    Args:
        attention: timm's `WindowAttention`.
        x: (B, H, W, C).
        mask: (windows, 49, 49) of the shifted windows, None for unshifted ones.

    Returns:
        (B, H, W, C).
    """
    height, width, channels = x.shape[1:]
    x = F.pad(x, (0, 0, 0, -width % WINDOW, 0, -height % WINDOW))
    padded = x.shape[1:3]
    if mask is not None:
        x = x.roll((-SHIFT, -SHIFT), dims=(1, 2))
    windows = window_partition(x, (WINDOW, WINDOW)).view(-1, WINDOW * WINDOW, channels)
    windows = attention(windows, mask=mask).view(-1, WINDOW, WINDOW, channels)
    x = window_reverse(windows, (WINDOW, WINDOW), *padded)
    if mask is not None:
        x = x.roll((SHIFT, SHIFT), dims=(1, 2))
    return x[:, :height, :width]


def shift_mask(height: int, width: int, *, device: torch.device, dtype: torch.dtype) -> Tensor:
    """(windows, 49, 49): -100 between tokens of a shifted window that are apart in the map, else 0."""
    rows = _regions(height + -height % WINDOW, device)
    columns = _regions(width + -width % WINDOW, device)
    regions = rows[:, None] * 3 + columns  # (H, W), nine regions
    windows = window_partition(regions[None, :, :, None], (WINDOW, WINDOW)).view(-1, WINDOW * WINDOW)
    return (windows[:, None] != windows[:, :, None]).to(dtype) * -100.0


def _regions(size: int, device: torch.device) -> Tensor:
    """Along one axis of a rolled map: 0, then 1 in the last window, 2 in what came round from the start."""
    index = torch.arange(size, device=device)
    return (index >= size - WINDOW).long() + (index >= size - SHIFT).long()


def swin_t(*, weights: str = "none") -> Swin:
    """Swin-Tiny, 28 million parameters."""
    return _swin("swin_tiny_patch4_window7_224", weights)


def swin_s(*, weights: str = "none") -> Swin:
    """Swin-Small, 49 million parameters."""
    return _swin("swin_small_patch4_window7_224", weights)


def swin_b(*, weights: str = "none") -> Swin:
    """Swin-Base with window 7, 87 million parameters."""
    return _swin("swin_base_patch4_window7_224", weights)


def swin_l(*, weights: str = "none") -> Swin:
    """Swin-Large with window 7, 195 million parameters."""
    return _swin("swin_large_patch4_window7_224", weights)


def _swin(name: str, weights: str) -> Swin:
    trunk = timm_model(name, weights, num_classes=0, strict_img_size=False, always_partition=True)
    return with_weights(Swin(trunk), weights, trunk)
