"""Prompts that pass through the blocks of a plain vision transformer, together with the patches."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mtlbench.backbones.vit import PlainViT, resize_positions
from mtlbench.model import laid_out

from .channels import ChannelAttention, Level, Size, parted
from .patches import count_patches, whole_patches


class PromptedViT(nn.Module):
    """What prompts need beside the blocks of a ViT, which they share with the patches.

        [p'; x'] = LN1([p; x])
        [a; b]   = attention([p'; x'])
        R, u     = channel attention(p', x')
        x        = x + b,      x = x + MLP(LN2(x))
        p        = p + a + u,  p = p + MLP(LN2(p))

    There is no class token, and prompts have no position.

    Args:
        backbone: whose blocks are used; it is not part of this module.
        size: (height, width) of the images that the channel attention is made for.
        windows: of the channel attention, in each direction.
        quirks: of TaskPrompter.

    Attributes:
        dim: width of the prompts.
        widths: channels and heads of each level.
    """

    def __init__(self, backbone: PlainViT, size: Size, *, windows: int, quirks: frozenset[str]) -> None:
        super().__init__()
        last = len(backbone.blocks) - 1
        self.quirks = quirks
        grid = count_patches(size, backbone.patch, quirks)
        heads = [backbone.blocks[i].attn.num_heads for i in backbone.taps]
        self.dim = backbone.channels[0]
        self.widths = list(zip(backbone.channels, heads, strict=True))
        self.channel = nn.ModuleList(
            ChannelAttention(
                backbone.channels[0],
                grid,
                windows=windows,
                discards="discarded_attention" in quirks,
                updates=i < last or "unused_update" in quirks,
            )
            for i in range(last + 1)
        )

    def forward(self, backbone: PlainViT, images: Tensor, prompts: Tensor) -> list[Level]:
        """Normalised images (B, 3, H, W), prompts (P, C) -> a level for each of the backbone's taps."""
        x = backbone.patch_embed(whole_patches(images, backbone.patch, self.quirks))
        size = (x.shape[-2], x.shape[-1])
        x = x.flatten(2).mT + resize_positions(backbone.pos_embed[:, 1:], backbone.grid, size)
        p, levels = prompts.expand(len(x), -1, -1), []
        last = len(self.channel) - 1
        for i, (block, channel) in enumerate(zip(backbone.blocks, self.channel, strict=True)):
            tokens = block.norm1(torch.cat([p, x], dim=1))
            own, seen = parted(tokens, p)
            (a, b), products = attend(block.attn, tokens, p.shape[1])
            r, update = channel(own, seen.mT.unflatten(2, size))
            x = x + block.drop_path1(block.ls1(b))
            if i < last:
                p = p + block.drop_path1(block.ls1(a + update))
                mixed = block.ls2(block.mlp(block.norm2(torch.cat([p, x], dim=1))))
                p, x = (y + block.drop_path2(m) for y, m in zip((p, x), parted(mixed, p), strict=True))
            else:
                x = x + block.drop_path2(block.ls2(block.mlp(block.norm2(x))))
            if i in backbone.taps:
                y = backbone.norm(x) if i == last else x
                among, spatial = products.split([p.shape[1], x.shape[1]], dim=-1)
                spatial = spatial.transpose(1, 2).unflatten(-1, size)
                levels.append(Level(laid_out(y.mT.unflatten(2, size)), spatial, r, among))
        return levels


def attend(attention: Any, tokens: Tensor, prompts: int) -> tuple[tuple[Tensor, Tensor], Tensor]:
    """Self-attention of all tokens, as `attention` of timm does it, and what it compared.

    Args:
        attention: timm's `Attention`.
        tokens: (B, P + N, C), the prompts first.
        prompts: P.

    Returns:
        The prompts (B, P, C) and the other tokens (B, N, C) after it; the products of the prompts' queries
        with all keys, neither scaled nor normalised, (B, heads, P, P + N).
    """
    q, k, v = attention.qkv(tokens).unflatten(-1, (3, attention.num_heads, -1)).permute(2, 0, 3, 1, 4)
    q, k = attention.q_norm(q), attention.k_norm(k)
    y = F.scaled_dot_product_attention(q, k, v)
    y = attention.proj_drop(attention.proj(y.transpose(1, 2).flatten(2)))
    return (y[:, :prompts], y[:, prompts:]), q[:, :, :prompts] @ k.mT
