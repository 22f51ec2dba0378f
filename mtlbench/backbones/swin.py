"""Swin as DeMT and DeGMix use it (the layout of mmsegmentation 0.5), from timm's layers, under its names."""

import re
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from timm.models.swin_transformer import window_partition, window_reverse
from torch import Tensor, nn
from torch.nn import functional as F

from mtlbench.backbones.base import Backbone, pad_to_multiple
from mtlbench.backbones.staged import Staged, unpaused
from mtlbench.backbones.weights import timm_model, with_weights
from mtlbench.published import Rule

Taps = Literal["before_merging", "after_merging"]


def merge_order(x: Tensor) -> Tensor:
    """Published patch merging -> timm's: the last axis, 4C, goes from order (c, kh, kw) to (kw, kh, c)."""
    width = x.shape[-1] // 4
    return x[..., torch.arange(4 * width).view(width, 2, 2).permute(2, 1, 0).flatten()]


class Swin(Backbone):
    """Shifted-window transformer; each stage's output gets a LayerNorm of its own (`norm0` ... `norm3`).

    Against timm: images are padded to a multiple of 4, maps to a multiple of the window *before* they are
    rolled (timm: after), and windows are shifted on any map (timm: only on maps larger than a window).
    Parameters are timm's and the output norms, which ImageNet weights lack.

    Args:
        trunk: timm's `SwinTransformer`. Its blocks know their windows: 7x7, odd ones shifted, with
            `always_partition`; else a block for maps not larger than a window has the whole map for one.
        taps: `after_merging`, as MTLoRA has it: maps are what patch merging makes of stages 0 to 2 and what
            stage 3 gives, so at strides 8, 16, 32, 32, and there are no output norms.
    """

    published_keys: ClassVar[tuple[Rule, ...]] = (
        Rule(r".*\.(relative_position_index|attn_mask)$", None),  # buffers, the same for all
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

    def __init__(self, trunk: Any, *, taps: Taps = "before_merging") -> None:
        super().__init__()
        widths = [info["num_chs"] for info in trunk.feature_info]
        self.merged = taps == "after_merging"
        self.channels = [*widths[1:], widths[-1]] if self.merged else widths
        if self.merged:
            self.strides = (8, 16, 32, 32)  # type: ignore[misc]  # of this one
        self.patch_embed = trunk.patch_embed
        self.layers = trunk.layers
        for i, channels in enumerate(() if self.merged else widths):
            self.add_module(f"norm{i}", nn.LayerNorm(channels))

    @property
    def stage_channels(self) -> list[list[int]]:
        widths = [[stage.blocks[0].dim] for stage in self.layers]
        return [widths[0], *widths]

    def forward(self, images: Tensor) -> list[Tensor]:
        return unpaused(self.staged(images))

    def staged(self, images: Tensor) -> Staged:
        x = self.patch_embed(pad_to_multiple(images, 4))  # (B, H/4, W/4, C): channels last throughout
        (x,) = yield [x.permute(0, 3, 1, 2)]
        maps: list[Tensor] = []
        for i, stage in enumerate(self.layers):
            x = maps[-1].permute(0, 2, 3, 1) if i and self.merged else stage.downsample(x.permute(0, 2, 3, 1))
            window = stage.blocks[0].attn.window_size[0]
            mask = shift_mask(*x.shape[1:3], device=x.device, dtype=x.dtype, window=window)
            for block in stage.blocks:
                x = apply_block(block, x, mask if any(block.shift_size) else None)
            (x,) = yield [x.permute(0, 3, 1, 2)]
            maps.append(self.as_map(i, x, (images.shape[-2], images.shape[-1])))
        return maps

    def as_map(self, stage: int, x: Tensor, size: tuple[int, int]) -> Tensor:
        """What `staged` pauses with after a stage -> the map of it, for images of this size (H, W)."""
        x = x.permute(0, 2, 3, 1)
        if not self.merged:
            x = getattr(self, f"norm{stage}")(x)
        elif stage + 1 < len(self.layers):
            x = self.layers[stage + 1].downsample(x)
        return x.permute(0, 3, 1, 2).contiguous()

    def adapt(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The original code counts patch merging to the stage before it, timm to the one behind."""
        if not any(key.startswith("layers.0.downsample.") for key in state):
            return dict(state)
        merging = re.compile(r"^layers\.(\d)\.downsample\.")
        return {merging.sub(lambda m: f"layers.{int(m[1]) + 1}.downsample.", k): v for k, v in state.items()}


def apply_block(block: Any, x: Tensor, mask: Tensor | None) -> Tensor:
    """A block of timm (`SwinTransformerBlock`) with the published attention; shifted if there is a mask.

    Its projection, put there by a tuning, may give several streams of tokens, one behind another in the
    batch: all start from the same ones.
    """
    update = block.drop_path1(window_attention(block.attn, block.norm1(x), mask))
    x = (update.unflatten(0, (-1, len(x))) + x).flatten(0, 1)
    return x + block.drop_path2(block.mlp(block.norm2(x)))


def window_attention(attention: Any, x: Tensor, mask: Tensor | None) -> Tensor:
    """Attention within windows of w x w tokens: pad, roll by w // 2, attend, roll back, crop.

    Args:
        attention: timm's `WindowAttention`.
        x: (B, H, W, C).
        mask: (windows, w w, w w) of the shifted windows, None for unshifted ones.

    Returns:
        (B, H, W, C).
    """
    height, width, channels = x.shape[1:]
    window = attention.window_size[0]
    shift = 0 if mask is None else window // 2
    x = F.pad(x, (0, 0, 0, -width % window, 0, -height % window))
    padded = x.shape[1:3]
    if shift:
        x = x.roll((-shift, -shift), dims=(1, 2))
    windows = window_partition(x, (window, window)).view(-1, window * window, channels)
    windows = attention(windows, mask=mask).view(-1, window, window, channels)
    x = window_reverse(windows, (window, window), *padded)
    if shift:
        x = x.roll((shift, shift), dims=(1, 2))
    return x[:, :height, :width]


def shift_mask(
    height: int, width: int, *, device: torch.device, dtype: torch.dtype, window: int = 7
) -> Tensor:
    """(windows, w w, w w): -100 between tokens of a shifted window that are apart in the map, else 0."""
    rows = _regions(height + -height % window, window, device)
    columns = _regions(width + -width % window, window, device)
    regions = rows[:, None] * 3 + columns  # (H, W), nine regions
    windows = window_partition(regions[None, :, :, None], (window, window)).view(-1, window * window)
    return (windows[:, None] != windows[:, :, None]).to(dtype) * -100.0


def _regions(size: int, window: int, device: torch.device) -> Tensor:
    """Along one axis of a rolled map: 0, then 1 in the last window, 2 in what came round from the start."""
    index = torch.arange(size, device=device)
    return (index >= size - window).long() + (index >= size - window // 2).long()


def swin_t(*, weights: str = "none", taps: Taps = "before_merging") -> Swin:
    """Swin-Tiny, 28 million parameters."""
    return _swin("swin_tiny_patch4_window7_224", weights, taps)


def swin_s(*, weights: str = "none", taps: Taps = "before_merging") -> Swin:
    """Swin-Small, 49 million parameters."""
    return _swin("swin_small_patch4_window7_224", weights, taps)


def swin_b(*, weights: str = "none", taps: Taps = "before_merging") -> Swin:
    """Swin-Base with window 7, 87 million parameters."""
    return _swin("swin_base_patch4_window7_224", weights, taps)


def swin_l(*, weights: str = "none", taps: Taps = "before_merging") -> Swin:
    """Swin-Large with window 7, 195 million parameters."""
    return _swin("swin_large_patch4_window7_224", weights, taps)


def swin_l_384(*, weights: str = "none", taps: Taps = "before_merging") -> Swin:
    """Swin-Large with window 12, 195 million parameters; MTMamba's."""
    return _swin("swin_large_patch4_window12_384", weights, taps)


def _swin(name: str, weights: str, taps: Taps) -> Swin:
    trunk = timm_model(name, weights, num_classes=0, strict_img_size=False, always_partition=True)
    return with_weights(Swin(trunk, taps=taps), weights, trunk)
