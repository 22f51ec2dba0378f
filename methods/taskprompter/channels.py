"""Prompts attend to the channels of a map: one product for each prompt, channel and window."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mtlbench.resizing import resize

Size = tuple[int, int]


@dataclass(frozen=True)
class Level:
    """What tasks read their features from.

    Attributes:
        x: a map (B, C, h, w).
        spatial: products of each prompt's query with each position's key, (B, P, heads, h, w).
        channel: products of each prompt with each channel in n x n windows, (B, P, C, n, n).
        among: products of the prompts' queries with their keys, (B, heads, P, P); None where a map has
            several windows, in each of which they differ.
    """

    x: Tensor
    spatial: Tensor
    channel: Tensor
    among: Tensor | None = None


def parted(tokens: Tensor, prompts: Tensor) -> tuple[Tensor, Tensor]:
    """(B, P + N, C) -> (B, P, C), (B, N, C)."""
    return tokens[:, : prompts.shape[1]], tokens[:, prompts.shape[1] :]


class ChannelAttention(nn.Module):
    """Channel attention of a plain ViT: prompts become maps, and are compared with the map of each channel.

        c = into(p)                                     (P, N): a map for each prompt
        R = c X^T in each of n x n windows              (P, C, n, n)
        u = out(softmax(R / sqrt(N / n^2)) X)           an update of the prompts

    `into` and `out` are linear layers over the N positions of one grid. On another grid c and what `out`
    takes are resized, and R is scaled by the ratio of the numbers of positions that it sums over.

    Args:
        dim: width C.
        grid: the (rows, columns) that `into` and `out` are made for.
        windows: n.
        discards: u = out(c); the attention decides nothing but R.
        updates: whether there is `out`.
    """

    def __init__(self, dim: int, grid: Size, *, windows: int, discards: bool, updates: bool) -> None:
        super().__init__()
        self.grid, self.windows, self.discards = grid, windows, discards
        self.into = nn.Linear(dim, math.prod(grid))
        self.out = nn.Linear(math.prod(grid), dim) if updates else None

    def forward(self, prompts: Tensor, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Prompts (B, P, C), a map (B, C, h, w) -> products (B, P, C, n, n), an update (B, P, C)."""
        size = (x.shape[-2], x.shape[-1])
        c = resize(self.into(prompts).unflatten(-1, self.grid), size)  # (B, P, h, w)
        keys = cut(x, self.windows)
        products = multiply(cut(c, self.windows), keys) * (math.prod(self.grid) / math.prod(size))
        if self.out is None:
            return products, None
        if not self.discards:
            positions = math.prod(self.grid) / self.windows**2
            c = join(weigh((products * positions**-0.5).softmax(2), keys), size)
        return products, self.out(resize(c, self.grid).flatten(2))


class ProjectedChannelAttention(nn.Module):
    """Channel attention of a Swin: maps are projected to e numbers, which stand for positions.

        q = query(into(p)),  [k; v] = key_value(X^T)    (P, e), (C, e), (C, e)
        R = q k^T in each of n x n windows of the e = r x r numbers
        u = out(project(softmax(R / sqrt(e)) v))

    `key_value` is a linear layer over the N positions of one grid; other maps are resized to it.

    Args:
        dim: width C.
        grid: the (rows, columns) that `key_value` is made for.
        channel_dim: e.
        windows: n.
        updates: whether there are `project` and `out`.
    """

    def __init__(self, dim: int, grid: Size, *, channel_dim: int, windows: int, updates: bool) -> None:
        super().__init__()
        self.grid, self.windows = grid, windows
        self.side, self.scale = math.isqrt(channel_dim), channel_dim**-0.5
        self.into = nn.Linear(dim, channel_dim)
        self.query = nn.Linear(channel_dim, channel_dim)
        self.key_value = nn.Linear(math.prod(grid), 2 * channel_dim)
        self.project = nn.Linear(channel_dim, channel_dim) if updates else None
        self.out = nn.Linear(channel_dim, dim) if updates else None

    def forward(self, prompts: Tensor, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Prompts (B, P, C), a map (B, C, h, w) -> products (B, P, C, n, n), an update (B, P, C)."""
        q = self._cut(self.query(self.into(prompts)))
        k, v = (self._cut(half) for half in self.key_value(resize(x, self.grid).flatten(2)).chunk(2, -1))
        products = multiply(q, k)
        if self.project is None or self.out is None:
            return products, None
        mixed = join(weigh((products * self.scale).softmax(2), v), (self.side, self.side)).flatten(2)
        return products, self.out(self.project(mixed))

    def _cut(self, x: Tensor) -> Tensor:
        """(B, M, e) -> (B, M, n, r / n, n, r / n)."""
        return cut(x.unflatten(-1, (self.side, self.side)), self.windows)


def cut(x: Tensor, windows: int) -> Tensor:
    """Maps (B, M, h, w) -> (B, M, n, ceil(h / n), n, ceil(w / n)), with zeros right and below."""
    height, width = x.shape[-2:]
    x = F.pad(x, (0, -width % windows, 0, -height % windows))
    return x.unflatten(3, (windows, -1)).unflatten(2, (windows, -1))


def join(x: Tensor, size: Size) -> Tensor:
    """(B, M, n, h', n, w') -> (B, M, *size)."""
    return x.flatten(4, 5).flatten(2, 3)[..., : size[0], : size[1]]


def multiply(q: Tensor, k: Tensor) -> Tensor:
    """Prompts (B, P, n, h', n, w') and channels (B, C, n, h', n, w') -> (B, P, C, n, n)."""
    return torch.einsum("bpihjw,bcihjw->bpcij", q, k)


def weigh(weights: Tensor, v: Tensor) -> Tensor:
    """(B, P, C, n, n) and channels (B, C, n, h', n, w') -> (B, P, n, h', n, w')."""
    return torch.einsum("bpcij,bcihjw->bpihjw", weights, v)


def spread(products: Tensor, size: Size) -> Tensor:
    """(B, C, n, n) -> (B, C, *size): each window's number at all of its positions."""
    windows = products.shape[-1]
    height, width = (-(-n // windows) for n in size)
    x = products[:, :, :, None, :, None].expand(-1, -1, -1, height, -1, width)
    return join(x, size)
