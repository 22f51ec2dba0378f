"""Propagation along the affinities of positions that all tasks found: A_t are a task's features, n positions.

    h_t^0     = A_t
    h_t^{k+1} = beta (sum over s of a_ts M_s) h_t^k + (1 - beta) h_t^0        a_t: softmax of learned weights

The affinity matrix M_s of task s is either of

* `sampled`: M_s(i, j) = softmax over j of <A_s,i, A_s,j> / sqrt(C), where j are the positions of every
  `stride`-th row and column; and
* `columns`: M_s = X X^T, X = A_s with each channel divided by its norm over the positions, each column then
  divided by its sum.

Neither ever exists: attention kernels take the former in pieces, and the latter is a product of two slim
matrices, M h = X (X^T (h / (X X^T 1))).
"""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mtlbench.precision import in_float32


class Propagation(nn.Module):
    """What both kinds share: weights of the tasks' affinities, and the steps.

    All steps but the last are needed at the positions alone that others take from.

    Args:
        tasks: their names.
        steps: K.
        beta: share of what a step brings.
        stride: between positions, along a row or column, from which others take.
    """

    def __init__(self, tasks: Iterable[str], *, steps: int, beta: float, stride: int = 1) -> None:
        super().__init__()
        self.tasks = tuple(tasks)
        self.steps, self.beta, self.stride = steps, beta, stride
        start = torch.full((len(self.tasks),), 1 / len(self.tasks))
        self.weights = nn.ParameterDict({t: nn.Parameter(start.clone()) for t in self.tasks})

    def forward(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Task -> (B, C, H, W) to the same."""
        shape = next(iter(features.values())).shape
        tokens = torch.stack([x.flatten(2).mT for x in features.values()], dim=1)  # (B, T, n, C)
        maps = self.propagate(tokens, (shape[2], shape[3]))
        return {t: x.mT.reshape(shape) for t, x in zip(features, maps, strict=True)}

    def propagate(self, tokens: Tensor, size: tuple[int, int]) -> list[Tensor]:
        """Tokens of all tasks (B, T, n, C), of a map of this size -> each task's (B, n, C)."""
        raise NotImplementedError

    def module_macs(self, inputs: tuple[Mapping[str, Tensor]], output: Any, counted: Any) -> int:
        """See `mtlbench.profiling`: each task's matrix is made once, and mixed and applied for every task."""
        _, channels, height, width = next(iter(inputs[0].values())).shape
        tasks, rows = len(self.tasks), height * width
        keys = -(-height // self.stride) * -(-width // self.stride)
        applied = tasks * keys * channels * (rows + (self.steps - 1) * keys)
        return tasks * rows * keys * (channels + tasks) + applied

    def _step(self, task: str, spread: Tensor, start: Tensor) -> Tensor:
        """M_s h for all s, (B, T, n, C), and h^0 (B, n, C) -> (B, n, C)."""
        mixed = torch.einsum("s,bsnc->bnc", self.weights[task].softmax(0), spread)
        return self.beta * mixed + (1 - self.beta) * start


ALIGNED = 8
"""Fused attention kernels want channels in multiples of it, and others make the matrix."""


class SampledPropagation(Propagation):
    """Every position takes from a part of all, by softmax. Arguments as `Propagation`."""

    def propagate(self, tokens: Tensor, size: tuple[int, int]) -> list[Tensor]:
        """Tokens of all tasks (B, T, n, C), of a map of this size -> each task's (B, n, C)."""
        channels = tokens.shape[-1]
        tokens = F.pad(tokens, (0, -channels % ALIGNED))
        grid = tokens.unflatten(2, size)  # (B, T, H, W, C)
        keys = grid[:, :, :: self.stride, :: self.stride].flatten(2, 3)  # (B, T, m, C)
        scale = channels**-0.5
        maps = (self._propagate(task, i, tokens, keys, scale) for i, task in enumerate(self.tasks))
        return [x[..., :channels] for x in maps]

    def _propagate(self, task: str, i: int, tokens: Tensor, keys: Tensor, scale: float) -> Tensor:
        h = keys[:, i]  # (B, m, C)
        for step in range(self.steps):
            asking = tokens if step == self.steps - 1 else keys
            values = h[:, None].expand_as(keys)
            spread = F.scaled_dot_product_attention(asking, keys, values, scale=scale)
            h = self._step(task, spread, asking[:, i])
        return h


class ColumnPropagation(Propagation):
    """Every position takes from all, by products of any sign whose sums over a column are 1."""

    def propagate(self, tokens: Tensor, size: tuple[int, int]) -> list[Tensor]:
        """Tokens of all tasks (B, T, n, C), of a map of this size -> each task's (B, n, C)."""
        with in_float32(tokens):  # sums may be close to 0
            x = F.normalize(tokens.float(), dim=2)
            sums = x @ x.mT.sum(-1, keepdim=True)  # (B, T, n, 1)
            starts = zip(self.tasks, tokens.float().unbind(1), strict=True)
            return [self._propagate(task, start, x, sums) for task, start in starts]

    def _propagate(self, task: str, start: Tensor, x: Tensor, sums: Tensor) -> Tensor:
        h = start
        for _ in range(self.steps):
            h = self._step(task, x @ (x.mT @ (h[:, None] / sums)), start)
        return h
