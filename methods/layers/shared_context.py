"""Attention at a cost that is linear in tokens and tasks: one context of all tasks, and a few summaries."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mtlbench.precision import in_float32

from .inter_task import Maps
from .windows import WindowAttention, Windows, mlp

EPSILON = 1e-6


class SharedContext(nn.Module):
    """Linear attention of multi-scale queries to one context of all tasks' tokens (MT-MQLFB).

        G   = sum over all tokens of phi(W_k x) (W_v x)^T,   n = sum of phi(W_k x)       phi = ReLU
        O_t = W_o concat_r (q_r G) / (q_r n),                 q_r = phi(W_q DWConv_r(X_t))

    G is (d, d) for each head, whatever the number of tokens and tasks, and the same for all tasks.

    Args:
        dim: width.
        heads: of the attention.
        scales: sides of the depthwise convolutions, odd.
    """

    def __init__(self, dim: int, heads: int, scales: Iterable[int]) -> None:
        super().__init__()
        self.heads = heads
        self.to_kv = nn.Linear(dim, 2 * dim)
        self.around = nn.ModuleList(nn.Conv2d(dim, dim, r, padding=r // 2, groups=dim) for r in scales)
        self.to_q = nn.Linear(dim, dim)
        self.proj = nn.Linear(dim * len(self.around), dim)

    def forward(self, maps: Maps) -> Maps:
        """Every task's (B, H, W, C) -> what it gets from all tasks."""
        context, total = self.context(maps)
        return {t: self._ask(x, context, total) for t, x in maps.items()}

    def context(self, maps: Maps) -> tuple[Tensor, Tensor]:
        """G (B, heads, d, d) and n (B, heads, d), both over the number of tokens, float32."""
        tokens = torch.cat([x.flatten(1, 2) for x in maps.values()], dim=1)  # (B, T N, C)
        k, v = (self._split(x) for x in self.to_kv(tokens).chunk(2, dim=-1))
        with in_float32(tokens):
            k, v = k.float().relu(), v.float()
            return k.mT @ v / k.shape[-2], k.mean(-2)

    def _ask(self, x: Tensor, context: Tensor, total: Tensor) -> Tensor:
        size, found = x.shape[1:3], []
        for conv in self.around:
            q = self._split(self.to_q(conv(x.movedim(-1, 1)).movedim(1, -1)).flatten(1, 2))
            with in_float32(x):
                q = q.float().relu()
                answer = (q @ context) / (q @ total[..., None] + EPSILON)
            found.append(answer.transpose(1, 2).flatten(2).to(x.dtype))
        joined: Tensor = self.proj(torch.cat(found, dim=-1))
        return joined.unflatten(1, size)

    def _split(self, x: Tensor) -> Tensor:
        """(B, N, C) -> (B, heads, N, d)."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class SemanticTokens(nn.Module):
    """All tasks' tokens, compressed to a few (STD): learned queries that attend to all, then LN and MLP.

    Args:
        dim: width.
        count: tokens that come out.
        heads: of the attention.
        mlp_ratio: width of the MLP in multiples of `dim`.
    """

    def __init__(self, dim: int, count: int, heads: int, mlp_ratio: int) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(count, dim) * dim**-0.5)
        self.ask = TokenAttention(dim, heads)
        self.norm = nn.LayerNorm(dim)
        self.mlp = mlp(dim, mlp_ratio * dim)

    def forward(self, maps: Maps) -> Tensor:
        """Every task's (B, H, W, C) -> (B, count, C)."""
        tokens = torch.cat([x.flatten(1, 2) for x in maps.values()], dim=1)
        found = self.ask(self.queries.repeat(len(tokens), 1, 1), tokens)
        refined: Tensor = found + self.mlp(self.norm(found))
        return refined


class TokenAttention(nn.Module):
    """Multi-head attention of some tokens to others."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_q, self.to_kv = nn.Linear(dim, dim), nn.Linear(dim, 2 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, asking: Tensor, asked: Tensor) -> Tensor:
        """(B, N, C) and (B, M, C) -> (B, N, C)."""
        pieces = (self.to_q(asking), *self.to_kv(asked).chunk(2, dim=-1))
        q, k, v = (x.unflatten(-1, (self.heads, -1)).transpose(1, 2) for x in pieces)
        answer: Tensor = self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return answer


class WindowAndTokens(nn.Module):
    """Two branches, gated (CWIB): attention inside windows, and to the few tokens of all tasks.

    X + g A + (1 - g) B with g = sigmoid(W [A; B]), then an MLP.
    """

    def __init__(self, dim: int, heads: int, window: int, mlp_ratio: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.window = WindowAttention(dim, heads, window)
        self.ask = TokenAttention(dim, heads)
        self.gate = nn.Linear(2 * dim, dim)
        self.mlp = mlp(dim, mlp_ratio * dim)

    def forward(self, x: Tensor, tokens: Tensor, windows: Windows) -> Tensor:
        """One task's (B, H, W, C) and (B, M, C) -> (B, H, W, C)."""
        normed = self.norm1(x)
        near = self.window(normed, windows)
        far = self.ask(normed.flatten(1, 2), tokens).view(x.shape)
        g = self.gate(torch.cat([near, far], dim=-1)).sigmoid()
        x = x + g * near + (1 - g) * far
        return x + self.mlp(self.norm2(x))
