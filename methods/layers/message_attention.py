"""Attention among the tokens of all tasks that is told what the attention at the coarser scale found."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mtlbench.resizing import resize

from .batch_norm import BatchNorm2d

Grid = tuple[int, int, int]
"""Tasks, rows and columns."""


class MessageAttention(nn.Module):
    """Every task's tokens attend to pooled tokens of all tasks.

    Queries are strided convolutions of each task's map (a quarter of its tokens); keys and values are
    averages over windows, as few at every scale. What the coarser scale's attention computed is passed on
    before its softmax, the *message*, and mixed with this one's logits:

        A = q k^T / sqrt(C)        with C the width of all heads together, as published
        A = fuse([A; up(message)])
        x = up(proj(softmax(A) v))

    Args:
        tasks: their names, in order.
        dim: width C of the tokens.
        heads: of the attention.
        window: side of the windows whose tokens are averaged.
        fuses: whether there is a layer that takes a message.
    """

    def __init__(self, tasks: Iterable[str], dim: int, heads: int, *, window: int, fuses: bool) -> None:
        super().__init__()
        self.heads, self.window, self.scale = heads, window, dim**-0.5
        self.queries = nn.ModuleDict({task: _halve(dim) for task in tasks})
        self.proj_q, self.proj_k, self.proj_v, self.proj = (nn.Linear(dim, dim) for _ in range(4))
        self.fuse = nn.Conv2d(2 * heads, heads, 1) if fuses else None

    def forward(self, x: Tensor, message: Tensor | None) -> tuple[Tensor, Tensor]:
        """Tokens of all tasks attend to those of all tasks.

        Args:
            x: maps of all tasks, channels last, (T, B, h, w, C).
            message: (B, heads, T, h', w', K) of the coarser scale, if there is one.

        Returns:
            (T, B, h, w, C), and the message to the finer scale, (B, heads, T, h/2, w/2, K).
        """
        q, grid = self._ask(x)
        pooled = per_map(self._pool, x)  # (T, B, h_k, w_k, C)
        k, v = self._split(self.proj_k(pooled)), self._split(self.proj_v(pooled))  # (B, heads, K, d)
        logits = q @ k.transpose(-1, -2)  # (B, heads, T h/2 w/2, K)
        if message is not None and self.fuse is not None:
            logits = self.fuse(torch.cat([logits, enlarge_message(message, grid[1:])], dim=1))
        return self._read(logits, v, grid, (x.shape[2], x.shape[3])), logits.unflatten(2, grid)

    def _ask(self, x: Tensor) -> tuple[Tensor, Grid]:
        """Maps (T, B, h, w, C) -> queries (B, heads, T h/2 w/2, d), scaled, and (T, h/2, w/2)."""
        halved = torch.stack([per_map(query, y) for query, y in zip(self.queries.values(), x, strict=True)])
        return self._split(self.proj_q(halved) * self.scale), (len(x), halved.shape[2], halved.shape[3])

    def _read(self, logits: Tensor, v: Tensor, grid: Grid, size: tuple[int, int]) -> Tensor:
        """Logits (B, heads, T h/2 w/2, K), values (B, heads, K, d) -> maps (T, B, *size, C)."""
        y = (logits.softmax(-1) @ v).unflatten(2, grid)  # (B, heads, T, h/2, w/2, d)
        y = self.proj(y.permute(2, 0, 3, 4, 1, 5).flatten(-2))  # (T, B, h/2, w/2, C)
        return resize_maps(y, size)

    def _pool(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, self.window, ceil_mode=True)

    def _split(self, x: Tensor) -> Tensor:
        """(T, B, h, w, C) -> (B, heads, T h w, d)."""
        return x.unflatten(-1, (self.heads, -1)).permute(1, 4, 0, 2, 3, 5).flatten(2, 4)


def enlarge_message(message: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, heads, T, h, w, K) -> (B, heads, T h' w', K): the maps of each key are resized to (h', w')."""
    maps = message.flatten(0, 2)  # (B heads T, h, w, K)
    return resize_maps(maps, size).reshape(*message.shape[:2], -1, message.shape[-1])


def per_map(layer: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Apply a layer for maps (B, C, h, w) to maps with channels last, (..., h, w, C)."""
    y = layer(x.flatten(0, -4).movedim(-1, 1)).movedim(1, -1)
    return y.unflatten(0, x.shape[:-3])


def resize_maps(x: Tensor, size: tuple[int, int]) -> Tensor:
    """(..., h, w, C) -> (..., *size, C), bilinear."""
    return per_map(lambda maps: resize(maps, size), x)


def _halve(dim: int) -> nn.Sequential:
    """Each channel's map at half the size."""
    return nn.Sequential(
        nn.Conv2d(dim, dim, 3, stride=2, padding=1, groups=dim, bias=False), BatchNorm2d(dim)
    )
