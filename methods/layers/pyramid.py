"""A linear map of all levels, projected before they are resized.

Bilinear resizing acts on each channel by itself, and a linear map on each position by itself, so the two
commute: W [F_1; up(F_2); ...] = W_1 F_1 + up(W_2 F_2) + ... with W_i the columns of W that read level i. Each
level is then projected at its own size, and the wide concatenation is never made.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mtlbench.profiling import linear_macs, norm_macs
from mtlbench.resizing import resize


def project_levels(features: Sequence[Tensor], weight: Tensor, bias: Tensor) -> Tensor:
    """Linear map of the levels' concatenation at the finest one's size.

    Args:
        features: maps (B, C_i, h_i, w_i), the finest first.
        weight: (D, sum of C_i).
        bias: (D,).

    Returns:
        (B, D, h_0, w_0), channels last in memory.
    """
    height, width = features[0].shape[-2:]
    parts = weight.split([x.shape[1] for x in features], dim=1)
    projected = [
        F.linear(x.movedim(1, -1), part).movedim(-1, 1) for x, part in zip(features, parts, strict=True)
    ]
    total = projected[0] + bias.view(-1, 1, 1)
    for level in projected[1:]:
        total = total + resize(level, (height, width))
    return total


class PyramidEmbed(nn.Sequential):
    """Every pixel of the finest level becomes a token: a linear map of all levels and LayerNorm."""

    def __init__(self, channels: int, dim: int) -> None:
        super().__init__(nn.Linear(channels, dim), nn.LayerNorm(dim))

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Maps (B, C_i, h_i, w_i), the finest first -> (B, D, h_0, w_0)."""
        linear, norm = self._layers()
        tokens: Tensor = norm(project_levels(features, linear.weight, linear.bias).movedim(1, -1))
        return tokens.movedim(-1, 1)

    def module_macs(self, inputs: tuple[Any], output: Tensor, counted: Any) -> int:
        """See `mtlbench.profiling`: published code maps the concatenation."""
        linear, norm = self._layers()
        pixels = output.numel() // output.shape[1]
        return linear_macs(linear, pixels) + norm_macs(norm, pixels)

    def _layers(self) -> tuple[nn.Linear, nn.LayerNorm]:
        linear, norm = self
        assert isinstance(linear, nn.Linear)
        assert isinstance(norm, nn.LayerNorm)
        return linear, norm


class PyramidLinears(nn.ModuleDict):
    """For each task a linear map of all levels."""

    def __init__(self, channels: int, dim: int, tasks: Iterable[str]) -> None:
        super().__init__({task: nn.Linear(channels, dim) for task in tasks})

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Maps (B, C_i, h_i, w_i), the finest first -> (B, D of all maps one after the other, h_0, w_0)."""
        weights, biases = ([getattr(linear, name) for linear in self.values()] for name in ("weight", "bias"))
        return project_levels(features, torch.cat(weights), torch.cat(biases))

    def module_macs(self, inputs: tuple[Any], output: Tensor, counted: Any) -> int:
        """See `mtlbench.profiling`: published code maps the concatenation."""
        pixels = output.numel() // output.shape[1]
        return sum(linear_macs(linear, pixels) for linear in self.values() if isinstance(linear, nn.Linear))
