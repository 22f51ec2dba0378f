"""Attention between the tokens of several tasks: all with all, and one task's tokens asking all."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mtlbench.profiling import linear_macs, norm_macs

from .position_attention import attend_to_projected


class TaskFusion(nn.Module):
    """Self-attention over all tokens of all tasks, each sample for itself."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(dim, heads, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, T, C) -> (B, N, T, C)."""
        tokens = x.flatten(1, 2)
        return self.attention(tokens, tokens, tokens, need_weights=False)[0].view(x.shape)


class TaskQuery(nn.Module):
    """One task's tokens ask all tasks' fused tokens: softmax(q k^T / sqrt(d)) v, each sample for itself.

    LayerNorm, with weights of its own, stands before each projection. All queries of a network read the same
    tokens, so these are normed once (`read`), and the norms' weights go into the projections.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_q, self.norm_k, self.norm_v = (nn.LayerNorm(dim) for _ in range(3))
        self.to_q, self.to_k, self.to_v = (nn.Linear(dim, dim, bias=False) for _ in range(3))
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, fused: Tensor) -> Tensor:
        """Tokens (B, N, C) and all tasks' standardised tokens (B, N, T, C) -> (B, N, C)."""
        q = self._split(self.to_q(self.norm_q(x)))  # (B, heads, N, d)
        (to_k, shift_k), (to_v, shift_v) = self._projections()
        projected = F.linear(fused.flatten(1, 2), torch.cat([to_k, to_v]), torch.cat([shift_k, shift_v]))
        k, v = (self._split(y) for y in projected.chunk(2, dim=-1))  # (B, heads, N T, d)
        attended: Tensor = self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return attended

    @staticmethod
    def read(fused: Tensor) -> Tensor:
        """What all queries need of the tokens (B, N, T, C): themselves with mean 0 and variance 1."""
        return F.layer_norm(fused, fused.shape[-1:])

    def published_macs(self, asking: int, asked: int) -> int:
        """Module MACs of so many tokens that ask and are asked."""
        own = norm_macs(self.norm_q, asking) + linear_macs(self.to_q, asking) + linear_macs(self.proj, asking)
        keys = norm_macs(self.norm_k, asked) + linear_macs(self.to_k, asked)
        return own + keys + norm_macs(self.norm_v, asked) + linear_macs(self.to_v, asked)

    def _projections(self) -> list[tuple[Tensor, Tensor]]:
        """Weights (C, C) and biases (C,) that give keys, and values, of standardised tokens."""
        layers = ((self.norm_k, self.to_k), (self.norm_v, self.to_v))
        return [(linear.weight * norm.weight, linear.weight @ norm.bias) for norm, linear in layers]

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)  # (B, heads, N, d)


class PositionTaskQuery(TaskQuery):
    """One task's token asks the tokens of all tasks at its own position."""

    def forward(self, x: Tensor, fused: Tensor) -> Tensor:
        """Tokens (B, N, C) and all tasks' standardised tokens (B, N, T, C) -> (B, N, C)."""
        q = self.to_q(self.norm_q(x)).flatten(0, 1)[:, None]  # (B N, 1, C)
        (to_k, _), (to_v, shift_v) = self._projections()  # what all keys share has no effect
        answers = attend_to_projected(q, fused.flatten(0, 1), to_k, to_v, self.heads)
        asked: Tensor = self.proj(answers.view(x.shape) + shift_v)
        return asked


class LinearTaskQuery(TaskQuery):
    """Without the softmax: (q k^T / sqrt(d)) v = q (k^T v) / sqrt(d).

    With keys and values linear in the tokens Y, k^T v = W_k (Y^T Y) W_v^T: of all tokens it needs nothing but
    their products with each other, which are the same for all queries.
    """

    @staticmethod
    def read(fused: Tensor) -> Tensor:
        """Y^T Y of standardised tokens Y and a channel of ones: (B, N, T, C) -> (B, C + 1, C + 1)."""
        y = F.pad(TaskQuery.read(fused).flatten(1, 2), (0, 1), value=1.0)
        return y.mT @ y

    def forward(self, x: Tensor, fused: Tensor) -> Tensor:
        """Tokens (B, N, C) and products (B, C + 1, C + 1) -> (B, N, C)."""
        q = self._split(self.to_q(self.norm_q(x)))  # (B, heads, N, d)
        k, v = (
            torch.cat([weight, shift[:, None]], dim=1).unflatten(0, (self.heads, -1))
            for weight, shift in self._projections()
        )  # (heads, d, C + 1)
        kv = k @ fused[:, None] @ v.mT  # (B, heads, d, d)
        attended: Tensor = self.proj((q @ kv * q.shape[-1] ** -0.5).transpose(1, 2).flatten(2))
        return attended


class TaskQueries(nn.ModuleDict):
    """One query for each task, of the same tokens."""

    def forward(self, mixed: Sequence[Tensor], fused: Tensor) -> list[Tensor]:
        """Each task's tokens (B, N, C) and all tasks' (B, N, T, C) -> each task's answers (B, N, C)."""
        return [query(m, fused) for query, m in zip(self.values(), mixed, strict=True)]


class NormedTaskQueries(TaskQueries):
    """The same, of queries with norms, which read the tokens once."""

    def forward(self, mixed: Sequence[Tensor], fused: Tensor) -> list[Tensor]:
        """Each task's tokens (B, N, C) and all tasks' (B, N, T, C) -> each task's answers (B, N, C)."""
        return super().forward(mixed, self._queries()[0].read(fused))

    def module_macs(self, inputs: tuple[Sequence[Tensor], Tensor], output: Any, counted: Any) -> int:
        """See `mtlbench.profiling`: published code projects keys and values of all tokens for each query."""
        asking, asked = (math.prod(x.shape[:-1]) for x in (inputs[0][0], inputs[1]))
        return sum(query.published_macs(asking, asked) for query in self._queries())

    def _queries(self) -> list[TaskQuery]:
        return [query for query in self.values() if isinstance(query, TaskQuery)]
