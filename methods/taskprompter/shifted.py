"""Prompts that pass through the blocks of a Swin, in every window of the map."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mtlbench.backbones.swin import Swin
from mtlbench.model import laid_out

from ..layers.windows import Windows
from .channels import Level, ProjectedChannelAttention, Size, parted
from .patches import count_patches, whole_patches

PATCH = 4


class Merging(nn.Module):
    """Prompts and products follow the map when it becomes half as large and twice as wide.

    Args:
        dim: width before.
        heads: of the attention before.
        prompts: their number.
    """

    def __init__(self, dim: int, heads: int, prompts: int) -> None:
        super().__init__()
        self.prompts = nn.Linear(dim, 2 * dim, bias=False)
        self.channel = nn.Linear(dim, 2 * dim, bias=False)
        self.spatial = nn.Conv2d(prompts * heads, prompts * heads, 3, stride=2, padding=1)

    def forward(self, prompts: Tensor, spatial: Tensor, channel: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Prompts and the fields of a `Level` before -> after.

        (B, P, C), (B, P, heads, h, w), (B, P, C, n, n)
        -> (B, P, 2C), (B, P, heads, h/2, w/2), (B, P, 2C, n, n).
        """
        smaller = self.spatial(spatial.flatten(1, 2)).unflatten(1, spatial.shape[1:3])
        return self.prompts(prompts), smaller, self.channel(channel.transpose(2, -1)).transpose(2, -1)


class PromptedSwin(nn.Module):
    """What prompts need beside the blocks of a Swin, which they share with the patches.

        p'       = LN1(p),  x' = LN1(x)
        a_w, b_w = attention([p'; x'_w])        in every window w; position bias and mask among patches only
        a, b     = mean of a_w, map of b_w
        R, u     = channel attention(p', b)
        x        = x + b,      x = x + MLP(LN2(x))
        p        = p + a + u,  p = p + MLP(LN2(p))

    Args:
        backbone: whose blocks are used; it is not part of this module.
        size: (height, width) of the images that the channel attention is made for.
        prompts: their number.
        channel_dim: width of the channel attention.
        windows: of the channel attention, in each direction.
        quirks: of TaskPrompter.

    Attributes:
        dim: width of the prompts.
        widths: channels and heads of each level.
    """

    def __init__(
        self,
        backbone: Swin,
        size: Size,
        *,
        prompts: int,
        channel_dim: int,
        windows: int,
        quirks: frozenset[str],
    ) -> None:
        super().__init__()
        self.quirks = quirks
        heads = [stage.blocks[-1].attn.num_heads for stage in backbone.layers]
        dims = [stage.blocks[-1].attn.dim for stage in backbone.layers]
        self.dim = dims[0]
        self.widths = list(zip([*dims[1:], dims[-1]], heads, strict=True))
        self.norm = nn.LayerNorm(dims[-1])
        last = len(backbone.layers) - 1
        self.channel, self.merging = nn.ModuleList(), nn.ModuleList()
        for i, (stage, dim, grid) in enumerate(
            zip(backbone.layers, dims, grids(size, last + 1, quirks), strict=True)
        ):
            final = len(stage.blocks) - 1 if i == last else None
            self.channel.append(
                nn.ModuleList(
                    ProjectedChannelAttention(
                        dim, grid, channel_dim=channel_dim, windows=windows, updates=j != final
                    )
                    for j in range(len(stage.blocks))
                )
            )
            if i < last:
                self.merging.append(Merging(dim, heads[i], prompts))

    def forward(self, backbone: Swin, images: Tensor, prompts: Tensor) -> list[Level]:
        """Normalised images (B, 3, H, W), prompts (P, C) -> a level for each stage, after its merging."""
        # (B, H/4, W/4, C): channels last throughout
        x = backbone.patch_embed(whole_patches(images, PATCH, self.quirks))
        p, levels = prompts.expand(len(x), -1, -1), []
        for i, stage in enumerate(backbone.layers):
            for j, block in enumerate(stage.blocks):
                attention = self.get_submodule(f"channel.{i}.{j}")
                x, p, spatial, channel = self._block(block, attention, x, p)
            if i < len(self.merging):
                x = backbone.layers[i + 1].downsample(x)
                p, spatial, channel = self.merging[i](p, spatial, channel)
            else:
                x = self.norm(x)
            levels.append(Level(laid_out(x.movedim(-1, 1)), spatial, channel))
        return levels

    def _block(
        self, block: Any, channel: nn.Module, x: Tensor, p: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        own = block.norm1(p)
        cut = self._windows(block, x)
        a, b, spatial = attend(block.attn, own, block.norm1(x), cut)
        asking = p if "raw_query" in self.quirks else own
        products, update = channel(asking, b.movedim(-1, 1))
        x = x + block.drop_path1(b)
        if update is None:
            return x + block.drop_path2(block.mlp(block.norm2(x))), p, spatial, products
        p = p + block.drop_path1(a + update)
        own, mixed = parted(block.mlp(block.norm2(torch.cat([p, x.flatten(1, 2)], dim=1))), p)
        x = x + block.drop_path2(mixed.unflatten(1, x.shape[1:3]))
        return x, p + block.drop_path2(own), spatial, products

    def _windows(self, block: Any, x: Tensor) -> Windows:
        window, size = block.attn.window_size[0], (x.shape[1], x.shape[2])
        shift = window // 2 if any(block.shift_size) else 0
        if "unshifted_small_maps" in self.quirks and min(size) <= window:
            window, shift = min(size), 0
        return Windows(size, window=window, shift=shift, like=x)


def grids(size: Size, stages: int, quirks: frozenset[str]) -> list[Size]:
    """Rows and columns of the map in each stage for images of (height, width)."""
    first = count_patches(size, PATCH, quirks)
    return [(-(-first[0] // 2**i), -(-first[1] // 2**i)) for i in range(stages)]


def attend(attention: Any, prompts: Tensor, x: Tensor, cut: Windows) -> tuple[Tensor, Tensor, Tensor]:
    """Attention of all prompts and a window's positions among each other, in every window.

    Args:
        attention: timm's `WindowAttention`.
        prompts: (B, P, C).
        x: (B, h, w, C).
        cut: the windows of maps of this size.

    Returns:
        The prompts (B, P, C), means over the windows; the map (B, h, w, C); the products of the prompts'
        queries with the keys of all positions, neither scaled nor normalised, (B, P, heads, h, w).
    """
    count, heads = prompts.shape[1], attention.num_heads
    windows = cut.cut(x)  # (B, windows, w w, C)
    copies = prompts[:, None].expand(-1, windows.shape[1], -1, -1)
    tokens = attention.qkv(torch.cat([copies, windows], dim=2))
    tokens = tokens.unflatten(-1, (3, heads, -1))  # (B, windows, P + w w, 3, heads, d)
    q, k, v = tokens.permute(3, 0, 1, 4, 2, 5)  # (B, windows, heads, P + w w, d)
    bias = position_bias(attention.relative_position_bias_table, attention.window_size[0], cut.window)
    if cut.mask is not None:
        bias = bias + cut.mask[:, None].to(bias.dtype)  # (windows, heads, w w, w w)
    bias = F.pad(bias, (count, 0, count, 0)).to(q.dtype)
    if q.is_cpu:  # as in `windows.attend`
        every = q @ k.mT
        y = torch.add(bias, every, alpha=q.shape[-1] ** -0.5).softmax(-1) @ v
        products = every[..., :count, count:]  # (B, windows, heads, P, w w)
    else:
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        products = q[..., :count, :] @ k[..., count:, :].mT
    y = y.transpose(2, 3).flatten(3)  # (B, windows, P + w w, C)
    means, maps = y[:, :, :count].mean(1), cut.join(y[:, :, count:])
    y = attention.proj_drop(attention.proj(torch.cat([means, maps.flatten(1, 2)], dim=1)))
    a, b = parted(y, prompts)
    products = cut.join(products.permute(0, 1, 4, 3, 2).flatten(3))  # (B, h, w, P heads)
    return a, b.unflatten(1, cut.size), products.movedim(-1, 1).unflatten(1, (count, heads))


def position_bias(table: Tensor, window: int, used: int) -> Tensor:
    """Bias for each displacement in windows of side `used` <= `window`, of which the table is.

    Args:
        table: ((2 window - 1)^2, heads).
        window: side w0 of the windows that the table is for.
        used: side w.

    Returns:
        (1, heads, w w, w w).
    """
    side, first = 2 * used - 1, window - used
    table = table.unflatten(0, (2 * window - 1, -1))[first : first + side, first : first + side].flatten(0, 1)
    at = torch.arange(used, device=table.device)
    apart = at[:, None] - at + used - 1  # (w, w)
    index = apart[:, None, :, None] * side + apart[None, :, None, :]  # (w, w, w, w)
    return table[index.flatten(2).flatten(0, 1)].movedim(-1, 0)[None]
