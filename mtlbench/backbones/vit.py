"""Plain ViT: what all have in common, and the one of DeGMix (the layout of mmsegmentation), from timm's
blocks and with timm's names.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mtlbench.backbones.base import Backbone, pad_to_multiple
from mtlbench.backbones.staged import Staged, unpaused
from mtlbench.backbones.weights import timm_model, with_weights
from mtlbench.published import Rule

PATCH = 16
GRID = 32
"""Side of the learnt position embedding of `ViT`: images of 512x512."""


class PlainViT(Backbone):
    """Vision transformer; its maps are the tokens after some of its blocks, all at one stride.

    Position embeddings are resized to the tokens' grid bicubically, without antialiasing.

    Args:
        trunk: timm's `VisionTransformer` with a class token, for images of any size.
        taps: the blocks, counted from 0, after which the tokens are taken.
        patch_embed: images to tokens.
        norm: of the last block's tokens.
    """

    strides: ClassVar[tuple[int, ...]] = (PATCH,) * 4
    timm_keys: ClassVar[tuple[Rule, ...]] = (Rule(r"patch_embed\.proj\.", "patch_embed."),)

    def __init__(self, trunk: Any, taps: tuple[int, ...], patch_embed: nn.Conv2d, norm: nn.Module) -> None:
        super().__init__()
        self.patch: int = trunk.patch_embed.patch_size[0]
        self.strides = (self.patch,) * len(taps)  # type: ignore[misc]  # of this one
        self.taps = taps
        self.channels = [trunk.embed_dim] * len(taps)
        self.grid: tuple[int, int] = trunk.patch_embed.grid_size
        self.cls_token = trunk.cls_token
        self.pos_embed = trunk.pos_embed  # (1, 1 + N, C)
        self.patch_embed = patch_embed
        self.blocks = trunk.blocks
        self.norm = norm

    @property
    def stage_channels(self) -> list[list[int]]:
        return [self.channels[:1], *([c] for c in self.channels)]

    def forward(self, images: Tensor) -> list[Tensor]:
        return unpaused(self.staged(images))

    def staged(self, images: Tensor) -> Staged:
        """A stage: the blocks up to the next tap; its tokens, the class token first, are (B, C, 1 + N, 1)."""
        x = self.patch_embed(pad_to_multiple(images, self.patch))  # (B, C, h, w)
        grid = (x.shape[-2], x.shape[-1])
        x = x.flatten(2).transpose(1, 2) + resize_positions(self.pos_embed[:, 1:], self.grid, grid)
        start = (self.cls_token + self.pos_embed[:, :1]).expand(len(x), -1, -1)
        x = torch.cat([start, x], dim=1)  # (B, 1 + h w, C)
        (x,) = yield [x.mT[..., None]]
        x = x[..., 0].mT
        maps: list[Tensor] = []
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i in self.taps:
                (x,) = yield [x.mT[..., None]]
                maps.append(self.as_map(len(maps), x, (images.shape[-2], images.shape[-1])))
                x = x[..., 0].mT
        return maps

    def as_map(self, stage: int, x: Tensor, size: tuple[int, int]) -> Tensor:
        """What `staged` pauses with after a stage -> the map of it, for images of this size (H, W)."""
        x = x[..., 0].mT  # (B, 1 + h w, C)
        if stage == len(self.taps) - 1:
            x = self.norm(x)
        return x[:, 1:].transpose(1, 2).unflatten(2, (-(-size[0] // self.patch), -(-size[1] // self.patch)))


class ViT(PlainViT):
    """ViT/16 after mmsegmentation.

    Against timm: position embeddings are resized without antialiasing, LayerNorm has eps 1e-5, there is no
    norm after the last block, and patches are embedded without a bias. Nothing is lost by that: the bias of
    timm's weights goes into the position embedding.
    """

    published_keys: ClassVar[tuple[Rule, ...]] = (
        Rule(r"patch_embed\.projection\.", "patch_embed."),
        Rule(r"layers\.(\d+)\.ln(\d)\.", r"blocks.\1.norm\2."),
        Rule(r"layers\.(\d+)\.attn\.attn\.in_proj_", r"blocks.\1.attn.qkv."),
        Rule(r"layers\.(\d+)\.attn\.attn\.out_proj\.", r"blocks.\1.attn.proj."),
        Rule(r"layers\.(\d+)\.ffn\.layers\.0\.0\.", r"blocks.\1.mlp.fc1."),
        Rule(r"layers\.(\d+)\.ffn\.layers\.1\.", r"blocks.\1.mlp.fc2."),
    )

    def __init__(self, trunk: Any, taps: tuple[int, ...]) -> None:
        patch_embed = nn.Conv2d(3, trunk.embed_dim, PATCH, stride=PATCH, bias=False)
        super().__init__(trunk, taps, patch_embed, nn.Identity())
        with torch.no_grad():
            self.patch_embed.weight.copy_(trunk.patch_embed.proj.weight)
            self.pos_embed.copy_(absorb_bias(self.pos_embed, trunk.patch_embed.proj.bias))

    def adapt(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Resize position embeddings of another image size; let them absorb a bias of the patch embedding."""
        ours = dict(state)
        if "pos_embed" in ours:
            positions = ours["pos_embed"]
            side = round((positions.shape[1] - 1) ** 0.5)
            if side != GRID and side**2 == positions.shape[1] - 1:
                resized = resize_positions(positions[:, 1:], (side, side), (GRID, GRID))
                ours["pos_embed"] = torch.cat([positions[:, :1], resized], dim=1)
            if "patch_embed.bias" in ours:
                ours["pos_embed"] = absorb_bias(ours["pos_embed"], ours.pop("patch_embed.bias"))
        return ours


def resize_positions(positions: Tensor, grid: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Embeddings (1, N, C) of a grid (rows, columns) -> (1, h w, C) of a grid of another size."""
    if grid == size:
        return positions
    rows = positions.transpose(1, 2).unflatten(2, grid)  # (1, C, rows, columns)
    return F.interpolate(rows, size=size, mode="bicubic", align_corners=False).flatten(2).transpose(1, 2)


def absorb_bias(positions: Tensor, bias: Tensor) -> Tensor:
    """Add the bias of all patches to the embeddings (1, 1 + N, C) of all positions but the class token's."""
    return torch.cat([positions[:, :1], positions[:, 1:] + bias], dim=1)


def vit_b(*, weights: str = "none") -> ViT:
    """ViT-B/16, 86 million parameters."""
    return _vit("vit_base_patch16_224", weights, taps=(2, 5, 8, 11))


def vit_l(*, weights: str = "none") -> ViT:
    """ViT-L/16, 304 million parameters."""
    return _vit("vit_large_patch16_224", weights, taps=(5, 11, 17, 23))


def _vit(name: str, weights: str, *, taps: tuple[int, ...]) -> ViT:
    norm = partial(nn.LayerNorm, eps=1e-5)
    trunk = timm_model(name, weights, img_size=GRID * PATCH, num_classes=0, norm_layer=norm)
    return with_weights(ViT(trunk, taps), weights, trunk)
