"""What the decoders of MTMamba and MTMamba++ are made of; maps are (B, H, W, C).

    STM      x + SS2D(LN(x)), gated: within a task; then, if there is one, x + MLP(LN(x))
    CTM      X = SS2D([LN(x_1 ... x_T)]),  y_t = SS2D_t(LN(x_t)),  g_t = sigma(W_t LN(x_t))
             x_t + O_t (g_t X + (1 - g_t) y_t): across tasks, at the level of features
    S-CTM    X = conv3x3(conv1x1(LN(x_1 ... x_T))),  x_t + SS2D_t(LN(x_t), steered by X), gated

Every branch is left out at random in training, by its sample.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from .scan_2d import SS2D
from .task_tokens import DropPath
from .windows import mlp

Maps = Mapping[str, Tensor]
"""Task -> (B, H, W, C)."""
MakeSS2D = Callable[..., SS2D]
"""SS2D with all but its widths chosen."""


class PatchExpand(nn.Module):
    """A linear map of every position to `scale` x `scale` positions; LayerNorm.

    Args:
        dim_in: channels before.
        dim: channels after.
        scale: how much finer the map becomes.
    """

    def __init__(self, dim_in: int, dim: int, scale: int) -> None:
        super().__init__()
        self.scale = scale
        self.expand = nn.Linear(dim_in, scale * scale * dim, bias=False)
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C_in) -> (B, s H, s W, C)."""
        parts = self.expand(x).unflatten(-1, (self.scale, self.scale, -1))  # (B, H, W, s, s, C)
        return self.norm(parts.transpose(2, 3).flatten(3, 4).flatten(1, 2))


class STM(nn.Module):
    """Self-task Mamba: a gated SS2D within one task, then an MLP if `mlp_ratio` is not 0."""

    def __init__(self, dim: int, make: MakeSS2D, drop_path: float, mlp_ratio: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.ss2d = make(dim, dim, gated=True)
        self.drop_path = DropPath(drop_path)
        self.mlp = nn.Sequential(nn.LayerNorm(dim), *mlp(dim, mlp_ratio * dim)) if mlp_ratio else None

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> the same."""
        x = x + self.drop_path(self.ss2d(self.norm(x)))
        return x if self.mlp is None else x + self.drop_path(self.mlp(x))


class CTM(nn.Module):
    """Cross-task Mamba: each task mixes a scan of its own with one that all tasks share."""

    def __init__(self, tasks: Sequence[str], dim: int, make: MakeSS2D, drop_path: float) -> None:
        super().__init__()
        self.shared_norm = nn.LayerNorm(len(tasks) * dim)
        self.shared = make(len(tasks) * dim, dim)
        self.norms = nn.ModuleDict({t: nn.LayerNorm(dim) for t in tasks})
        self.own = nn.ModuleDict({t: make(dim, dim) for t in tasks})
        inner = self.shared.norm.normalized_shape[0]
        self.gates = nn.ModuleDict({t: nn.Linear(dim, inner, bias=False) for t in tasks})
        self.out = nn.ModuleDict({t: nn.Linear(inner, dim, bias=False) for t in tasks})
        self.drop_path = DropPath(drop_path)
        self.by_task = {"shared_norm.weight": 0, "shared_norm.bias": 0, "shared.project.weight": 1}

    def forward(self, x: Maps) -> dict[str, Tensor]:
        """Task -> (B, H, W, C), in the order of the tasks -> the same."""
        shared = self.shared(self.shared_norm(torch.cat(list(x.values()), dim=-1)))  # X
        return {t: self._mix(t, x[t], shared) for t in x}

    def _mix(self, task: str, x: Tensor, shared: Tensor) -> Tensor:
        normed = self.norms[task](x)
        own, gate = self.own[task](normed), self.gates[task](normed).sigmoid()
        return x + self.drop_path(self.out[task](own + gate * (shared - own)))


class SharedCTM(nn.Module):
    """Cross-task Mamba of MTMamba++: what all tasks share steers the scan of each."""

    def __init__(self, tasks: Sequence[str], dim: int, make: MakeSS2D, drop_path: float) -> None:
        super().__init__()
        self.shared_norm = nn.LayerNorm(len(tasks) * dim)
        self.shared = nn.Sequential(nn.Conv2d(len(tasks) * dim, dim, 1), nn.Conv2d(dim, dim, 3, padding=1))
        self.norms = nn.ModuleDict({t: nn.LayerNorm(dim) for t in tasks})
        self.own = nn.ModuleDict({t: make(dim, dim, gated=True, steered=True) for t in tasks})
        self.drop_path = DropPath(drop_path)
        self.by_task = {"shared_norm.weight": 0, "shared_norm.bias": 0, "shared.0.weight": 1}

    def forward(self, x: Maps) -> dict[str, Tensor]:
        """Task -> (B, H, W, C), in the order of the tasks -> the same."""
        together = self.shared_norm(torch.cat(list(x.values()), dim=-1))
        shared = self.shared(together.movedim(-1, 1)).movedim(1, -1)  # X
        return {t: x[t] + self.drop_path(self.own[t](self.norms[t](x[t]), shared)) for t in x}
