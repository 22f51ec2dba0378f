"""Attention inside windows as in Swin's released code: every stage makes masks, every call a matrix."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from naive.shared import Size


def partitioned(x: Tensor, window: int) -> Tensor:
    """(B, H, W, C) -> (B windows, w w, C)."""
    batch, height, width, channels = x.shape
    x = x.view(batch, height // window, window, width // window, window, channels)
    return x.permute(0, 1, 3, 2, 4, 5).contiguous().view(-1, window * window, channels)


def put_together(windows: Tensor, window: int, size: Size) -> Tensor:
    """(B windows, w w, C) -> (B, *size, C)."""
    height, width = size
    batch = len(windows) * window * window // (height * width)
    x = windows.view(batch, height // window, width // window, window, window, -1)
    return x.permute(0, 1, 3, 2, 4, 5).contiguous().view(batch, height, width, -1)


def cut(x: Tensor, window: int, shift: int) -> tuple[Tensor, Size]:
    """(B, H, W, C), padded and rolled -> (B windows, w w, C), the padded size."""
    x = F.pad(x, (0, 0, 0, -x.shape[2] % window, 0, -x.shape[1] % window))
    if shift:
        x = torch.roll(x, shifts=(-shift, -shift), dims=(1, 2))
    return partitioned(x, window), (x.shape[1], x.shape[2])


def joined(windows: Tensor, window: int, shift: int, padded: Size, size: Size) -> Tensor:
    """What `cut` made -> (B, *size, C)."""
    x = put_together(windows, window, padded)
    if shift:
        x = torch.roll(x, shifts=(shift, shift), dims=(1, 2))
    return x[:, : size[0], : size[1]].contiguous()


def shift_mask(size: Size, window: int, shift: int, like: Tensor) -> Tensor:
    """For maps of this size, which is padded here: (windows, w w, w w), -100 where tokens are apart."""
    height, width = (n + -n % window for n in size)
    regions = torch.zeros((1, height, width, 1), device=like.device)
    for number, (rows, columns) in enumerate(nine(window, shift)):
        regions[:, rows, columns] = number
    windows = partitioned(regions, window).squeeze(2)
    apart = windows[:, None] - windows[:, :, None]
    return apart.masked_fill(apart != 0, -100.0).masked_fill(apart == 0, 0.0)


def nine(window: int, shift: int) -> Iterator[tuple[slice, slice]]:
    steps = (slice(0, -window), slice(-window, -shift), slice(-shift, None))
    return ((rows, columns) for rows in steps for columns in steps)


def relative_bias(table: Tensor, window: int) -> Tensor:
    """((2 w - 1)^2, heads) -> (heads, w w, w w)."""
    at = torch.stack(
        torch.meshgrid(*(torch.arange(window, device=table.device),) * 2, indexing="ij")
    ).flatten(1)
    apart = (at[:, :, None] - at[:, None, :]).permute(1, 2, 0) + window - 1
    index = apart[..., 0] * (2 * window - 1) + apart[..., 1]
    return table[index.view(-1)].view(window**2, window**2, -1).permute(2, 0, 1).contiguous()


def attend_in_windows(
    q: Tensor, k: Tensor, v: Tensor, bias: Tensor, mask: Tensor | None, *, scale: float
) -> Tensor:
    """By the matrix of each window, (B windows, heads, w w, d) -> (B windows, w w, C)."""
    return weighed(window_weights(q, k, bias, mask, scale=scale), v)


def window_weights(q: Tensor, k: Tensor, bias: Tensor, mask: Tensor | None, *, scale: float) -> Tensor:
    """The matrix of each window: (B windows, heads, w w, w w)."""
    attention = (q * scale) @ k.transpose(-2, -1) + bias.unsqueeze(0)
    if mask is not None:
        count, heads, tokens = len(mask), attention.shape[1], attention.shape[2]
        attention = attention.view(-1, count, heads, tokens, tokens) + mask.unsqueeze(1).unsqueeze(0)
        attention = attention.view(-1, heads, tokens, tokens)
    return attention.softmax(dim=-1)


def weighed(weights: Tensor, v: Tensor) -> Tensor:
    """Values (B windows, heads, w w, d) -> (B windows, w w, C)."""
    return (weights @ v).transpose(1, 2).flatten(2)


def split(x: Tensor, parts: int, heads: int) -> Tensor:
    """(B, N, parts C) -> (parts, B, heads, N, d)."""
    batch, tokens, _ = x.shape
    return x.reshape(batch, tokens, parts, heads, -1).permute(2, 0, 3, 1, 4)


def window_block(block: Any, x: Tensor, window: int, shift: int, mask: Tensor | None) -> Tensor:
    """A block of Swin: (B, H, W, C) -> the same."""
    size, heads = (x.shape[1], x.shape[2]), block.attention.heads
    windows, padded = cut(block.norm1(x), window, shift)
    q, k, v = split(block.attention.qkv(windows), 3, heads)
    bias = relative_bias(block.attention.bias.table, window)
    y = block.attention.proj(attend_in_windows(q, k, v, bias, mask, scale=q.shape[-1] ** -0.5))
    x = x + joined(y, window, shift, padded, size)
    return x + block.mlp(block.norm2(x))
