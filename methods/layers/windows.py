"""Attention inside windows of a map, as in Swin, where the method says what asks what."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Size = tuple[int, int]


MUCH_PADDING = 1.1
"""Tokens in windows for each of the map, from which layers of single tokens pay off before the cut."""


class Windows:
    """How maps of one size are cut: padded with zeros right and below, rolled by `shift`, cut.

    Attributes:
        mask: (windows, w w, w w), -100 between tokens that are apart in the map; None without a shift.
    """

    def __init__(self, size: Size, *, window: int, shift: int, like: Tensor) -> None:
        self.size, self.window, self.shift = size, window, shift
        self.padded = [n + -n % window for n in size]
        self.wide = math.prod(self.padded) > MUCH_PADDING * math.prod(size)
        self.mask = self._shift_mask(like) if shift else None

    def cut(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, windows, w w, C)."""
        height, width = self.size
        return self._cut(F.pad(x, (0, 0, 0, self.padded[1] - width, 0, self.padded[0] - height)))

    def cut_projected(self, layer: nn.Linear, x: Tensor) -> Tensor:
        """`layer` of the windows of x: (B, H, W, C) -> (B, windows, w w, C').

        Where much is padding, the layer acts on the map: of zeros it makes its bias.
        """
        if not self.wide:
            projected: Tensor = layer(self.cut(x))
            return projected
        x = layer(x)
        for dim, (more, size) in enumerate(zip(self.padded, self.size, strict=True), 1):
            if more > size:
                shape = (*x.shape[:dim], more - size, *x.shape[dim + 1 :])
                x = torch.cat([x, layer.bias.to(x.dtype).expand(shape)], dim=dim)
        return self._cut(x)

    def _cut(self, x: Tensor) -> Tensor:
        if self.shift:
            x = x.roll((-self.shift, -self.shift), dims=(1, 2))
        rows, columns = (n // self.window for n in self.padded)
        x = x.unflatten(2, (columns, self.window)).unflatten(1, (rows, self.window))
        return x.transpose(2, 3).flatten(3, 4).flatten(1, 2)

    def join(self, windows: Tensor) -> Tensor:
        """(B, windows, w w, C) -> (B, H, W, C)."""
        rows, columns = (n // self.window for n in self.padded)
        x = windows.unflatten(2, (self.window, self.window)).unflatten(1, (rows, columns))
        x = x.transpose(2, 3).flatten(3, 4).flatten(1, 2)
        if self.shift:
            x = x.roll((self.shift, self.shift), dims=(1, 2))
        return x[:, : self.size[0], : self.size[1]]

    def _shift_mask(self, like: Tensor) -> Tensor:
        rows, columns = (self._regions(n, like.device) for n in self.padded)
        regions = (rows[:, None] * 3 + columns)[None, :, :, None]
        plain = Windows((self.padded[0], self.padded[1]), window=self.window, shift=0, like=like)
        cut = plain.cut(regions)[0, :, :, 0]  # (windows, w w)
        return (cut[:, None] != cut[:, :, None]).to(like.dtype) * -100.0

    def _regions(self, size: int, device: torch.device) -> Tensor:
        """Along one axis of a rolled map: 0, 1 in the last window, 2 in what came round from the start."""
        index = torch.arange(size, device=device)
        return (index >= size - self.window).long() + (index >= size - self.shift).long()


class WindowBias(nn.Module):
    """A learned number for each head and each displacement inside a window, added to the products."""

    relative_position_index: Tensor

    def __init__(self, heads: int, window: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.empty((2 * window - 1) ** 2, heads))
        nn.init.trunc_normal_(self.table, std=0.02)
        at = torch.stack(torch.meshgrid(*(torch.arange(window),) * 2, indexing="ij")).flatten(1)
        apart = at[:, :, None] - at[:, None, :] + window - 1  # (2, w w, w w)
        index = apart[0] * (2 * window - 1) + apart[1]
        self.register_buffer("relative_position_index", index, persistent=False)

    def forward(self, windows: Windows) -> Tensor:
        """-> (windows or 1, heads, w w, w w), with the mask of shifted windows."""
        bias = self.table[self.relative_position_index].movedim(-1, 0)[None]
        return bias if windows.mask is None else bias + windows.mask[:, None].to(bias.dtype)


def attend(
    q: Tensor, k: Tensor, v: Tensor, bias: Tensor, *, heads: int, scale: float | None = None
) -> Tensor:
    """softmax(scale q k^T + bias) v in each window.

    Args:
        q: (B, windows, w w, C).
        k: as q.
        v: as q.
        bias: (windows or 1, heads, w w, w w).
        heads: C is split among.
        scale: default: one over the root of a head's width.

    Returns:
        (B, windows, w w, C).
    """
    return attend_each(q, k, [v], bias, heads=heads, scale=scale)[0]


def attend_each(
    q: Tensor,
    k: Tensor,
    values: Sequence[Tensor],
    bias: Tensor,
    *,
    heads: int,
    scale: float | None = None,
) -> list[Tensor]:
    """`attend` with the same weights for several v, which stay apart in the autograd graph."""
    q, k, *values = (x.unflatten(-1, (heads, -1)).transpose(-2, -3) for x in (q, k, *values))
    bias = bias.to(q.dtype)
    if q.is_cpu:  # windows are small: its fused kernel is slower than the matrix, and takes no learned bias
        products = (q @ k.mT).mul_(q.shape[-1] ** -0.5 if scale is None else scale).add_(bias)
        weights = products.softmax(-1)
        answers = [weights @ v for v in values]
    else:
        answers = [F.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=scale) for v in values]
    return [x.transpose(-2, -3).flatten(-2) for x in answers]


class WindowAttention(nn.Module):
    """Multi-head self-attention inside windows."""

    def __init__(self, dim: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.bias = WindowBias(heads, window)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, windows: Windows) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        q, k, v = windows.cut_projected(self.qkv, x).chunk(3, dim=-1)
        attended: Tensor = self.proj(windows.join(attend(q, k, v, self.bias(windows), heads=self.heads)))
        return attended


class WindowBlock(nn.Module):
    """Swin's block: x + attention(LN(x)), x + MLP(LN(x))."""

    def __init__(self, dim: int, heads: int, window: int, *, mlp_ratio: int = 4) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention = WindowAttention(dim, heads, window)
        self.mlp = mlp(dim, mlp_ratio * dim)

    def forward(self, x: Tensor, windows: Windows) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        x = x + self.attention(self.norm1(x), windows)
        return x + self.mlp(self.norm2(x))


def mlp(dim: int, hidden: int, out: int | None = None) -> nn.Sequential:
    """Linear, GELU, linear."""
    return nn.Sequential(nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, out or dim))


def plain_and_shifted(x: Tensor, window: int) -> tuple[Windows, Windows]:
    """For maps (B, H, W, C): the windows of a stage's odd blocks and, shifted, of its even ones."""
    size = (x.shape[1], x.shape[2])
    plain, shifted = (Windows(size, window=window, shift=s, like=x) for s in (0, window // 2))
    return plain, shifted


def initialise_linear(module: nn.Module) -> None:
    """All linear layers in it as in Swin: weights from a normal distribution of width 0.02, biases zero."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
