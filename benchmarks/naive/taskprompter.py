"""TaskPrompter, as released: on a plain ViT, and on a Swin."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from mtlbench.backbones.base import pad_to_multiple
from mtlbench.backbones.vit import PlainViT
from mtlbench.model import Outputs
from naive.shared import NaiveForm, convolved, map_of, resized, tokens_of
from naive.windows import cut, joined, relative_bias, shift_mask, split


@dataclass
class Level:
    """A map (B, C, h, w), and what prompts found in it: (B, heads, T, h, w) and (B, T, C, n, n)."""

    x: Tensor
    spatial: Tensor
    channel: Tensor


class NaiveTaskPrompter(NaiveForm):
    """Attention matrices of all tokens; maps of each task and level are enlarged before they are convolved.

    The attention of prompts to channels of a ViT is computed to its end, which nothing reads.
    """

    parts: ClassVar = ("whole",)
    backbone = "vit-b"

    def forward(self, images: Tensor) -> Outputs:
        """Normalised images (B, 3, H, W) of the network's size -> predictions at (H, W)."""
        net, size = self.network, (images.shape[2], images.shape[3])
        plain = isinstance(net.backbone, PlainViT)
        levels = list((on_vit if plain else on_swin)(net, images))
        found = [self.features(i, level) for i, level in enumerate(levels)]
        final = {}
        for task in net.tasks:
            first = found[0][task]
            finest = (first.shape[2], first.shape[3])
            x = sum(resized(maps[task], finest) for maps in found)
            if plain:
                conv, norm, activation = net.project[task]
                x = activation(norm(convolved(conv, resized(x, (4 * finest[0], 4 * finest[1])))))
            else:
                x = convolved(net.merge[task], x)
                for layer in net.project[task]:
                    x = layer(x)
            final[task] = resized(net.final_logits[task](x), size)
        return Outputs(final)

    def features(self, number: int, level: Level) -> dict[str, Tensor]:
        """Each task's (B, F, h', w') of one level."""
        layers, (batch, channels, height, width) = self.network.levels[number], level.x.shape
        found = {}
        for i, task in enumerate(self.network.tasks):
            by_head = level.spatial[:, :, i, None]  # (B, heads, 1, h, w)
            grouped = level.x.reshape(batch, by_head.shape[1], -1, height, width)
            weighed = (grouped * by_head).reshape(batch, channels, height, width)
            spatial = layers.spatial[task](weighed + level.x)
            side = level.channel.shape[-1]
            by_channel = level.channel[:, i].repeat_interleave(-(-height // side), dim=2)
            by_channel = by_channel.repeat_interleave(-(-width // side), dim=3)[..., :height, :width]
            channel = layers.channel[task](level.x * by_channel + level.x)
            both = torch.cat([spatial, channel], dim=1)
            x = resized(both, (height * layers.enlarge, width * layers.enlarge))
            for layer in layers.fuse[task]:
                x = convolved(layer, x) if isinstance(layer, torch.nn.Conv2d) else layer(x)
            found[task] = x
        return found


def on_vit(net: Any, images: Tensor) -> Iterator[Level]:
    backbone, count = net.backbone, len(net.prompts)
    x = backbone.patch_embed(pad_to_multiple(images, backbone.patch))
    size = (x.shape[2], x.shape[3])
    places = backbone.pos_embed[:, 1:]
    if size != backbone.grid:
        grid = places.transpose(1, 2).unflatten(2, backbone.grid)
        places = tokens_of(F.interpolate(grid, size=size, mode="bicubic", align_corners=False))
    x = tokens_of(x) + places
    p = net.prompts.expand(len(x), -1, -1)
    last = len(backbone.blocks) - 1
    for i, (block, channel) in enumerate(zip(backbone.blocks, net.prompted.channel, strict=True)):
        own, seen = block.norm1(p), block.norm1(x)
        q, k, v = split(block.attn.qkv(torch.cat([own, seen], dim=1)), 3, block.attn.num_heads)
        products = q @ k.transpose(-2, -1)  # (B, heads, T + N, T + N)
        attended = ((products * q.shape[-1] ** -0.5).softmax(dim=-1) @ v).transpose(1, 2).flatten(2)
        y = block.attn.proj(attended)
        c = channel.into(own)  # (B, T, N)
        r, _ = asked_channels(map_of(c.mT, size), map_of(seen, size), channel.windows)
        x = x + block.drop_path1(y[:, count:])
        x = x + block.drop_path2(block.mlp(block.norm2(x)))
        if i < last:
            p = p + block.drop_path1(y[:, :count] + channel.out(c))
            p = p + block.drop_path2(block.mlp(block.norm2(p)))
        if i in backbone.taps:
            spatial = products[:, :, :count, count:].unflatten(-1, size)
            yield Level(map_of(backbone.norm(x) if i == last else x, size), spatial, r)


def asked_channels(
    q: Tensor, x: Tensor, windows: int, v: Tensor | None = None, scale: float | None = None
) -> tuple[Tensor, Tensor]:
    """Attention of prompts to channels in n x n windows.

    Args:
        q: (B, T, h, w).
        x: keys (B, C, h, w).
        windows: n.
        v: values as x; None: x.
        scale: None: one over the root of a window's positions.

    Returns:
        The products (B, T, C, n, n) and what was found (B, T, N).
    """
    q, k, v = (windowed(y, windows) for y in (q, x, x if v is None else v))  # (B, n n, M, h' w')
    products = q @ k.transpose(-2, -1)  # (B, n n, T, C)
    found = (products * (scale or q.shape[-1] ** -0.5)).softmax(dim=-1) @ v
    return products.movedim(1, -1).unflatten(-1, (windows, windows)), found.transpose(1, 2).flatten(2)


def windowed(x: Tensor, windows: int) -> Tensor:
    """(B, M, h, w) -> (B, n n, M, h' w')."""
    x = F.pad(x, (0, -x.shape[3] % windows, 0, -x.shape[2] % windows))
    x = x.unflatten(3, (windows, -1)).unflatten(2, (windows, -1))  # (B, M, n, h', n, w')
    return x.permute(0, 2, 4, 1, 3, 5).flatten(4).flatten(1, 2).contiguous()


def on_swin(net: Any, images: Tensor) -> Iterator[Level]:
    backbone, prompted = net.backbone, net.prompted
    x = backbone.patch_embed(pad_to_multiple(images, 4))  # (B, h, w, C)
    p = net.prompts.expand(len(x), -1, -1)
    for i, stage in enumerate(backbone.layers):
        for block, channel in zip(stage.blocks, prompted.channel[i], strict=True):
            x, p, spatial, r = prompted_block(block, channel, x, p)
        if i < len(prompted.merging):
            merging = prompted.merging[i]
            x, p = backbone.layers[i + 1].downsample(x), merging.prompts(p)
            by_prompt = spatial.transpose(1, 2)  # our parameters are ordered by prompt, then head
            smaller = merging.spatial(by_prompt.flatten(1, 2))
            spatial = smaller.unflatten(1, by_prompt.shape[1:3]).transpose(1, 2)
            r = merging.channel(r.transpose(2, -1)).transpose(2, -1)
        else:
            x = prompted.norm(x)
        yield Level(x.permute(0, 3, 1, 2).contiguous(), spatial, r)


def prompted_block(block: Any, channel: Any, x: Tensor, p: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Map (B, h, w, C) and prompts (B, T, C) -> the same, and the `spatial` and `channel` of a `Level`."""
    attention, size, count = block.attn, (x.shape[1], x.shape[2]), p.shape[1]
    largest = attention.window_size[0]
    window, shift = (largest, largest // 2 if any(block.shift_size) else 0)
    if min(size) <= window:
        window, shift = min(size), 0
    own = block.norm1(p)
    windows, padded = cut(block.norm1(x), window, shift)  # (B windows, w w, C)
    copies = own[:, None].repeat(1, len(windows) // len(x), 1, 1).flatten(0, 1)
    q, k, v = split(attention.qkv(torch.cat([copies, windows], dim=1)), 3, attention.num_heads)
    products = q @ k.transpose(-2, -1)  # (B windows, heads, T + w w, T + w w)
    side, used = 2 * largest - 1, slice(largest - window, largest + window - 1)
    table = attention.relative_position_bias_table.unflatten(0, (side, side))[used, used].flatten(0, 1)
    logits = products * q.shape[-1] ** -0.5 + F.pad(relative_bias(table, window), (count, 0, count, 0))
    if shift:
        mask = F.pad(shift_mask(size, window, shift, x), (count, 0, count, 0))[:, None]
        logits = (logits.unflatten(0, (-1, len(mask))) + mask).flatten(0, 1)
    y = attention.proj((logits.softmax(dim=-1) @ v).transpose(1, 2).flatten(2))
    a = y[:, :count].unflatten(0, (len(x), -1)).mean(1)
    b = joined(y[:, count:], window, shift, padded, size)
    spatial = joined(
        products[:, :, :count, count:].permute(0, 3, 1, 2).flatten(2), window, shift, padded, size
    )
    spatial = spatial.permute(0, 3, 1, 2).unflatten(1, (-1, count))  # (B, heads, T, h, w)
    r, update = asked_projected(channel, p, b)
    x = x + block.drop_path1(b)
    x = x + block.drop_path2(block.mlp(block.norm2(x)))
    if update is not None:
        p = p + block.drop_path1(a + update)
        p = p + block.drop_path2(block.mlp(block.norm2(p)))
    return x, p, spatial, r


def asked_projected(channel: Any, p: Tensor, x: Tensor) -> tuple[Tensor, Tensor | None]:
    """Prompts (B, T, C) and a map (B, h, w, C) -> products (B, T, C, n, n), an update of the prompts."""
    square = (channel.side, channel.side)
    q = channel.query(channel.into(p)).unflatten(-1, square)
    k, v = channel.key_value(x.flatten(1, 2).transpose(1, 2)).unflatten(-1, (2, *square)).unbind(2)
    products, found = asked_channels(q, k, channel.windows, v, channel.scale)
    return products, None if channel.out is None else channel.out(channel.project(found))
