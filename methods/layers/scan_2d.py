"""Selective scans of maps: every position hears of all others along four ways through the map.

Paper: Liu et al., "VMamba: Visual State Space Model", NeurIPS 2024 (SS2D). A map u (B, H, W, D) is read row
by row, column by column, and both backwards; way k has parameters of its own, and y is the sum of all four:

    [r, B, C]_k = W_k s,      delta_k = V_k r_k + bias_k,      y = sum_k scan(u, delta_k, A_k, B_k, C_k, D_k)

Step sizes, inputs and outputs of the scan depend on s: on u itself, or on another map of the same size.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .scan import selective_scan

WAYS = 4
SLOWEST, FASTEST, LEAST = 1e-3, 1e-1, 1e-4
"""Between which step sizes are drawn at first, and their least."""


class Scan2d(nn.Module):
    """The four scans of a map.

    Args:
        dim: channels.
        states: of a channel.
        rank: of the step sizes' projection.
    """

    def __init__(self, dim: int, states: int, rank: int) -> None:
        super().__init__()
        self.sizes = (rank, states, states)
        self.project = nn.Parameter(torch.empty(WAYS, sum(self.sizes), dim).uniform_(-1, 1) / math.sqrt(dim))
        self.step_weight = nn.Parameter(torch.empty(WAYS, dim, rank).uniform_(-1, 1) / math.sqrt(rank))
        steps = torch.empty(WAYS, dim).uniform_(math.log(SLOWEST), math.log(FASTEST)).exp().clamp(min=LEAST)
        self.step_bias = nn.Parameter(steps + torch.log(-torch.expm1(-steps)))  # the inverse of softplus
        self.decay_logs = nn.Parameter(torch.arange(1.0, states + 1).log().expand(WAYS * dim, states).clone())
        self.through = nn.Parameter(torch.ones(WAYS * dim))

    def forward(self, u: Tensor, steering: Tensor | None = None) -> Tensor:
        """Map u (B, H, W, D), and what steers its scan if not u -> (B, H, W, D), float32."""
        steering = u if steering is None else steering
        found = F.linear(steering, self.project.flatten(0, 1)).unflatten(-1, (WAYS, -1))
        low, b, c = along_ways(found).split(self.sizes, dim=-1)
        delta = low @ self.step_weight.mT + self.step_bias.unsqueeze(1)  # (B, 4, L, D)
        a = -self.decay_logs.float().exp().unflatten(0, (WAYS, -1))
        sequences = along_ways(u.unsqueeze(3).expand(-1, -1, -1, WAYS, -1))
        y = selective_scan(sequences, delta, a, b, c, self.through.unflatten(0, (WAYS, -1)))
        return sum_of_ways(y, u.shape[1], u.shape[2])


def along_ways(x: Tensor) -> Tensor:
    """(B, H, W, 4, C), of the positions for each way -> in the order of the ways: (B, 4, L, C)."""
    rows, columns = x[:, :, :, ::2].flatten(1, 2), x[:, :, :, 1::2].transpose(1, 2).flatten(1, 2)
    return torch.stack([rows[:, :, 0], columns[:, :, 0], rows[:, :, 1].flip(1), columns[:, :, 1].flip(1)], 1)


def sum_of_ways(y: Tensor, height: int, width: int) -> Tensor:
    """(B, 4, L, C), in the order of the ways -> their sum at each position: (B, H, W, C)."""
    rows, columns = (y[:, k] + y[:, k + 2].flip(1) for k in (0, 1))
    return rows.unflatten(1, (height, width)) + columns.unflatten(1, (width, height)).transpose(1, 2)


class SS2D(nn.Module):
    """What goes on around the four scans of a map.

        u = SiLU(dwconv3x3(W_u x)),        z = LN(scan(u))

    and with `gated` z = W_o (z * SiLU(W_z x)), as wide as x.

    Args:
        dim_in: channels of the map.
        dim: channels of the block, of which others are multiples.
        states, rank: of the scan; rank None: a sixteenth of `dim`.
        expansion: channels of the scan over `dim`.
        gated: whether there are a gate and an output projection.
        steered: whether another map, (B, H, W, dim), steers the scan.
    """

    def __init__(
        self,
        dim_in: int,
        dim: int,
        *,
        states: int,
        rank: int | None,
        expansion: int,
        gated: bool = False,
        steered: bool = False,
    ) -> None:
        super().__init__()
        inner = expansion * dim
        self.gated = gated
        self.project = nn.Linear(dim_in, 2 * inner if gated else inner, bias=False)
        self.steer = nn.Linear(dim, inner, bias=False) if steered else None
        self.conv = nn.Conv2d(inner, inner, 3, padding=1, groups=inner)
        self.scan = Scan2d(inner, states, rank or -(-dim // 16))
        self.norm = nn.LayerNorm(inner)
        self.out = nn.Linear(inner, dim, bias=False) if gated else None

    def forward(self, x: Tensor, steering: Tensor | None = None) -> Tensor:
        """(B, H, W, C_in) -> (B, H, W, C), without gate (B, H, W, expansion C)."""
        u, *gate = self.project(x).chunk(2 if self.gated else 1, dim=-1)
        u = F.silu(self.conv(u.movedim(-1, 1))).movedim(1, -1)
        if self.steer is not None:
            steering = self.steer(steering)
        z: Tensor = self.norm(self.scan(u, steering).to(self.norm.weight.dtype))
        return z if self.out is None else self.out(z * F.silu(gate[0]))
