"""Attention among the tokens of all tasks, at three costs; N tokens a task, T tasks, width d.

* `FullAttention`: every token asks all tokens: products of (T N)^2 d.
* `WindowedAttention`: it asks those of all tasks in its window of w x w: T^2 N w^2 d.
* `DeformableAttention`: it asks P places, which it chooses, in each task's map: T^2 N P d.

Each takes and gives every task's map, channels last, and knows no task but by its name.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mtlbench.precision import in_float32

from .sine import sine_positions
from .windows import WindowBias, attend, plain_and_shifted

NEARLY_ZERO = 1e-3
Maps = dict[str, Tensor]
"""Task -> (B, H, W, C)."""


class FullAttention(nn.Module):
    """Multi-head attention of all tasks' tokens to all tasks' tokens."""

    def __init__(self, tasks: Iterable[str], dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def forward(self, maps: Maps, places: Maps) -> Maps:
        """Values from `maps`; queries and keys from `places`, which are the same with positions added."""
        tokens = torch.stack(list(maps.values()), dim=1)  # (B, T, H, W, C)
        asking = torch.stack(list(places.values()), dim=1).flatten(1, 3)
        dim = asking.shape[-1]
        qk = F.linear(asking, self.qkv.weight[: 2 * dim], self.qkv.bias[: 2 * dim])
        v = F.linear(tokens.flatten(1, 3), self.qkv.weight[2 * dim :], self.qkv.bias[2 * dim :])
        q, k, v = (x.unflatten(-1, (self.heads, -1)).transpose(1, 2) for x in (*qk.chunk(2, dim=-1), v))
        answers = self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return dict(zip(maps, answers.view(tokens.shape).unbind(1), strict=True))


class WindowedAttention(FullAttention):
    """The same inside windows: a token asks all tasks' tokens of its window, shifted where `shifted`."""

    def __init__(
        self, tasks: Iterable[str], dim: int, heads: int, *, window: int = 7, shifted: bool = False
    ) -> None:
        super().__init__(tasks, dim, heads)
        self.window, self.shifted = window, shifted
        self.bias = WindowBias(heads, window)

    def forward(self, maps: Maps, places: Maps) -> Maps:
        """As `FullAttention`."""
        windows = plain_and_shifted(next(iter(maps.values())), self.window)[self.shifted]
        dim, count = self.proj.in_features, len(maps)
        cut = torch.cat([windows.cut(x) for x in maps.values()], dim=2)  # (B, windows, T w w, C)
        asking = torch.cat([windows.cut(x) for x in places.values()], dim=2)
        qk = F.linear(asking, self.qkv.weight[: 2 * dim], self.qkv.bias[: 2 * dim])
        v = F.linear(cut, self.qkv.weight[2 * dim :], self.qkv.bias[2 * dim :])
        bias = self.bias(windows).repeat(1, 1, count, count)  # the same between any two tasks
        q, k = qk.chunk(2, dim=-1)
        answers = self.proj(attend(q, k, v, bias, heads=self.heads)).chunk(count, dim=2)
        return {task: windows.join(x) for task, x in zip(maps, answers, strict=True)}


class DeformableAttention(nn.Module):
    """Multi-head attention to a few places of every task's map.

    As Deformable DETR (Zhu et al., ICLR 2021, eq. 3), with the tasks' maps in the role of its levels: for
    query z at place p, heads m, tasks s, points k,

        out = W_o concat_m sum_s,k a_msk (W_v F_s)(p + delta_msk),   a = softmax over s, k of W_a z,
                                                                     delta = W_delta z, in pixels

    Read bilinearly, zero outside the maps. Nothing of size (T N)^2 is made.

    Args:
        tasks: whose maps are read.
        dim: width.
        heads: of the attention.
        points: read in each task's map, by each head.
    """

    def __init__(self, tasks: Iterable[str], dim: int, heads: int, *, points: int = 4) -> None:
        super().__init__()
        names = tuple(tasks)
        self.heads, self.points = heads, points
        self.offsets = nn.ModuleDict({t: nn.Linear(dim, heads * points * 2) for t in names})
        self.weights = nn.ModuleDict({t: nn.Linear(dim, heads * points) for t in names})
        self.value, self.proj = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self._initialise()

    def _initialise(self) -> None:
        """As Deformable DETR: each head looks in a direction of its own, its points ever farther away.

        Weights are not quite zero, unlike there: names and positions of queries get a gradient at once.
        """
        angles = torch.arange(self.heads) * (2 * torch.pi / self.heads)
        directions = torch.stack([angles.cos(), angles.sin()], dim=-1)  # (heads, 2), (x, y)
        directions = directions / directions.abs().amax(-1, keepdim=True)
        steps = torch.arange(1, self.points + 1).view(1, -1, 1)
        starts: dict[str, Tensor | float] = {
            "offsets": (directions[:, None] * steps).flatten(),
            "weights": 0.0,
        }
        for name, start in starts.items():
            for layer in self.get_submodule(name).children():
                nn.init.normal_(layer.get_parameter("weight"), std=NEARLY_ZERO)
                with torch.no_grad():
                    layer.get_parameter("bias")[:] = start
        for layer in (self.value, self.proj):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, maps: Maps, places: Maps) -> Maps:
        """Values from `maps`; what is asked from `places`, which are the same with positions added."""
        first = next(iter(maps.values()))
        size = (first.shape[1], first.shape[2])
        asking = torch.stack(list(places.values()), dim=1).flatten(1, 3)  # (B, T N, C)
        logits = torch.stack([w(asking).unflatten(-1, (self.heads, -1)) for w in self.weights.values()], -2)
        shares = logits.float().flatten(-2).softmax(-1).view(logits.shape)  # (B, T N, heads, S, points)
        total: Tensor | None = None
        for i, (task, offsets) in enumerate(self.offsets.items()):
            read = self._read(self.value(maps[task]), offsets(asking), shares[..., i, :], size)
            total = read if total is None else total + read
        assert total is not None
        answers: Tensor = self.proj(total.to(asking.dtype))
        return dict(zip(maps, answers.unflatten(1, (len(maps), *size)).unbind(1), strict=True))

    def _read(self, values: Tensor, offsets: Tensor, shares: Tensor, size: tuple[int, int]) -> Tensor:
        """One task's map, read at the queries' places.

        Args:
            values: (B, H, W, C).
            offsets: (B, T N, heads points 2), in pixels, (x, y).
            shares: (B, T N, heads, points).
            size: (H, W).

        Returns:
            (B, T N, C), float32.
        """
        batch, asked = offsets.shape[:2]
        with in_float32(values):
            channels = values.float().unflatten(-1, (self.heads, -1)).permute(0, 3, 4, 1, 2).flatten(0, 1)
            scale = torch.tensor([2 / size[1], 2 / size[0]], device=values.device)
            grid = offsets.float().unflatten(-1, (self.heads, self.points, 2)) * scale
            grid = grid + _centres(size, values.device).repeat(asked // (size[0] * size[1]), 1)[:, None, None]
            grid = grid.transpose(1, 2).flatten(0, 1)  # (B heads, T N, points, 2)
            found = F.grid_sample(channels, grid, align_corners=False)  # (B heads, d, T N, points)
            weighted = (found * shares.transpose(1, 2).flatten(0, 1)[:, None]).sum(-1)
        return weighted.unflatten(0, (batch, self.heads)).flatten(1, 2).transpose(1, 2)


def _centres(size: tuple[int, int], device: torch.device) -> Tensor:
    """Places (x, y) of all pixels, row by row, -1 to 1 between the map's edges: (H W, 2)."""
    rows, columns = ((2 * torch.arange(n, device=device) + 1) / n - 1 for n in size)
    return torch.stack([columns.repeat(size[0]), rows.repeat_interleave(size[1])], dim=-1)


class InterTaskBlock(nn.Module):
    """x + attention(LN(x)), x + MLP(LN(x)), for all tasks' maps, with the same weights for each."""

    def __init__(self, tasks: Iterable[str], dim: int, attention: nn.Module, mlp: nn.Module) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention, self.mlp = attention, mlp
        self.names = nn.ParameterDict({t: nn.Parameter(torch.randn(dim) * 0.02) for t in tasks})

    def forward(self, maps: Maps) -> Maps:
        """Every task's (B, H, W, C) -> the same."""
        first = next(iter(maps.values()))
        position = sine_positions((first.shape[1], first.shape[2]), first.shape[3], first.device)
        normed = {t: self.norm1(x) for t, x in maps.items()}
        places = {t: x + position.to(x.dtype) + self.names[t] for t, x in normed.items()}
        answers = self.attention(normed, places)
        maps = {t: x + answers[t] for t, x in maps.items()}
        return {t: x + self.mlp(self.norm2(x)) for t, x in maps.items()}
