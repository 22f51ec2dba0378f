"""Plain ViT as DeGMix uses it (the layout of mmsegmentation), from timm's blocks and with timm's names."""

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mtlbench.backbones.base import Backbone, pad_to_multiple
from mtlbench.backbones.weights import timm_model, with_weights
from mtlbench.published import Rule

PATCH = 16
GRID = 32
"""Side of the learnt position embedding: images of 512x512."""


class ViT(Backbone):
    """Vision transformer with patches of 16; its maps are the tokens after four of its blocks, all at stride
    16.

    Against timm: position embeddings are resized without antialiasing, LayerNorm has eps 1e-5, there is no
    norm after the last block, and patches are embedded without a bias. Nothing is lost by that: the bias of
    timm's weights goes into the position embedding.
    """

    strides: ClassVar[tuple[int, ...]] = (PATCH,) * 4
    published_keys: ClassVar[tuple[Rule, ...]] = (
        Rule(r"patch_embed\.projection\.", "patch_embed."),
        Rule(r"layers\.(\d+)\.ln(\d)\.", r"blocks.\1.norm\2."),
        Rule(r"layers\.(\d+)\.attn\.attn\.in_proj_", r"blocks.\1.attn.qkv."),
        Rule(r"layers\.(\d+)\.attn\.attn\.out_proj\.", r"blocks.\1.attn.proj."),
        Rule(r"layers\.(\d+)\.ffn\.layers\.0\.0\.", r"blocks.\1.mlp.fc1."),
        Rule(r"layers\.(\d+)\.ffn\.layers\.1\.", r"blocks.\1.mlp.fc2."),
    )
    timm_keys: ClassVar[tuple[Rule, ...]] = (Rule(r"patch_embed\.proj\.", "patch_embed."),)

    def __init__(self, trunk: Any, taps: tuple[int, ...]) -> None:
        super().__init__()
        self.taps = taps
        self.channels = [trunk.embed_dim] * len(taps)
        self.cls_token = trunk.cls_token
        self.pos_embed = trunk.pos_embed  # (1, 1 + GRID^2, C)
        self.patch_embed = nn.Conv2d(3, trunk.embed_dim, PATCH, stride=PATCH, bias=False)
        self.blocks = trunk.blocks
        with torch.no_grad():
            self.patch_embed.weight.copy_(trunk.patch_embed.proj.weight)
            self.pos_embed.copy_(absorb_bias(self.pos_embed, trunk.patch_embed.proj.bias))

    def forward(self, images: Tensor) -> list[Tensor]:
        x = self.patch_embed(pad_to_multiple(images, PATCH))  # (B, C, h, w)
        size = (x.shape[-2], x.shape[-1])
        x = x.flatten(2).transpose(1, 2) + resize_positions(self.pos_embed[:, 1:], size)
        start = (self.cls_token + self.pos_embed[:, :1]).expand(len(x), -1, -1)
        x = torch.cat([start, x], dim=1)  # (B, 1 + h w, C)
        maps = []
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i in self.taps:
                maps.append(x[:, 1:].transpose(1, 2).unflatten(2, size))
        return maps

    def adapt(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Resize position embeddings of another image size; let them absorb a bias of the patch embedding."""
        ours = dict(state)
        if "pos_embed" in ours:
            positions = ours["pos_embed"]
            side = round((positions.shape[1] - 1) ** 0.5)
            if side != GRID and side**2 == positions.shape[1] - 1:
                resized = resize_positions(positions[:, 1:], (GRID, GRID))
                ours["pos_embed"] = torch.cat([positions[:, :1], resized], dim=1)
            if "patch_embed.bias" in ours:
                ours["pos_embed"] = absorb_bias(ours["pos_embed"], ours.pop("patch_embed.bias"))
        return ours


def resize_positions(positions: Tensor, size: tuple[int, int]) -> Tensor:
    """Embeddings of a square grid (1, S^2, C) -> of a grid of another size (1, h w, C)."""
    side = round(positions.shape[1] ** 0.5)
    grid = positions.transpose(1, 2).unflatten(2, (side, side))  # (1, C, S, S)
    return F.interpolate(grid, size=size, mode="bicubic", align_corners=False).flatten(2).transpose(1, 2)


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
