"""A few tokens per task that read the task's pixels, and pixels that read tokens.

Attention between N pixels and M tokens, M much smaller than N, with LayerNorm before each projection:

    softmax((W_q LN_q(a)) (W_k LN_k(b))^T / sqrt(d)) W_v LN_v(b)

A projection of the pixels costs as much as the attention itself, so it is moved to the tokens' side of the
product: for a token's query q, q . W_k LN_k(x) = (W_k^T q) . LN_k(x), and W_v may wait until the pixels are
summed. What remains to be done with a pixel is the same LayerNorm in all places but for its affine part,
which moves along: modules here take pixels that have been through `F.layer_norm` without one.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mtlbench.profiling import linear_macs, norm_macs


class NormedAttention(nn.Module):
    """The parameters of an attention with LayerNorm on queries, keys and values, and no biases before `proj`.

    Args:
        dim: width of the tokens.
        heads: each with C / heads channels.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_q, self.norm_k, self.norm_v = (nn.LayerNorm(dim) for _ in range(3))
        self.to_q, self.to_k, self.to_v = (nn.Linear(dim, dim, bias=False) for _ in range(3))
        self.proj = nn.Linear(dim, dim)

    def split(self, x: Tensor) -> Tensor:
        """(..., C) -> (..., heads, d)."""
        return x.unflatten(-1, (self.heads, -1))

    def scores(self, own: Tensor, to_pixels: nn.Linear, norm: nn.LayerNorm) -> tuple[Tensor, Tensor]:
        """What turns normed pixels into scores: tokens (..., M, C) -> weights (..., heads M, C), biases.

        Args:
            own: the tokens' projections.
            to_pixels: the pixels' projection, which moves here.
            norm: that the pixels pass before it.
        """
        scale = (own.shape[-1] // self.heads) ** -0.5
        moved = self.split(own * scale).transpose(-2, -3) @ to_pixels.weight.unflatten(0, (self.heads, -1))
        moved = moved.flatten(-3, -2)
        return moved * norm.weight, moved @ norm.bias

    def macs(self, asking: int, asked: int) -> int:
        """As `mtlbench.profiling` wants them: published code norms and projects both sides."""
        own = norm_macs(self.norm_q, asking) + linear_macs(self.to_q, asking) + linear_macs(self.proj, asking)
        keys = norm_macs(self.norm_k, asked) + linear_macs(self.to_k, asked)
        return own + keys + norm_macs(self.norm_v, asked) + linear_macs(self.to_v, asked)


class TokensReadPixels(NormedAttention):
    """Each task's tokens ask that task's pixels."""

    def forward(self, tokens: Tensor, pixels: Tensor) -> Tensor:
        """Tokens (T, M, C) and normed pixels (B, N, T, C) -> (B, T, M, C)."""
        weights, biases = self.scores(self.to_q(self.norm_q(tokens)), self.to_k, self.norm_k)
        read = []
        for x, weight, bias in zip(pixels.unbind(2), weights, biases, strict=True):
            shares = F.linear(x, weight, bias).softmax(dim=1)  # (B, N, heads M)
            read.append(shares.mT @ x)  # (B, heads M, C)
        mean = self.norm_v.weight * torch.stack(read, dim=1) + self.norm_v.bias
        values = mean.unflatten(2, (self.heads, -1)) @ self.to_v.weight.unflatten(0, (self.heads, -1)).mT
        return self.proj(values.transpose(2, 3).flatten(3))  # from (B, T, heads, M, d)

    def module_macs(self, inputs: tuple[Tensor, Tensor], output: Tensor, counted: Any) -> int:
        """See `mtlbench.profiling`."""
        return self.macs(*(x.numel() // x.shape[-1] for x in (output, inputs[1])))


class PixelsReadTokens(NormedAttention):
    """Each task's pixels ask that task's tokens."""

    def forward(self, pixels: Tensor, tokens: Tensor, positions: Tensor) -> Tensor:
        """Normed pixels (B, N, T, C), tokens (B, T, M, C), their positions (T, M, C) -> (B, N, T, C)."""
        weights, biases = self.scores(self.to_k(self.norm_k(tokens + positions)), self.to_q, self.norm_q)
        values = self.split(self.to_v(self.norm_v(tokens))).transpose(2, 3)  # (B, T, heads, M, d)
        values = (values @ self.split(self.proj.weight).transpose(0, 1).mT).flatten(
            2, 3
        )  # (B, T, heads M, C)
        read = []
        for t, x in enumerate(pixels.unbind(2)):
            scores = torch.baddbmm(biases[:, t, None], x, weights[:, t].mT)  # (B, N, heads M)
            shares = self.split(scores).softmax(dim=-1).flatten(2)
            read.append(torch.baddbmm(self.proj.bias, shares, values[:, t]))
        return torch.stack(read, dim=2)

    def module_macs(self, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor, counted: Any) -> int:
        """See `mtlbench.profiling`."""
        return self.macs(*(x.numel() // x.shape[-1] for x in inputs[:2]))


class NormedMLP(nn.Module):
    """LayerNorm, linear, GELU, linear."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.fc1 = nn.Linear(dim, hidden)
        self.gelu = nn.GELU()
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) -> (..., C)."""
        return self.fc2(self.gelu(self.fc1(self.norm(x))))


class DropPath(nn.Module):
    """In training, leaves out a branch at random and scales what is kept: drawn for every sample.

    Args:
        rate: how often.
        task_axis: of the branch's output; there each task is drawn by itself. None: all tasks together.
    """

    def __init__(self, rate: float, *, task_axis: int | None = None) -> None:
        super().__init__()
        self.rate = rate
        self.task_axis = task_axis

    def forward(self, x: Tensor) -> Tensor:
        """(B, ..., C) -> the same shape."""
        if not self.training or self.rate == 0:
            return x
        shape = [n if axis in (0, self.task_axis) else 1 for axis, n in enumerate(x.shape)]
        kept = x.new_empty(shape).bernoulli_(1 - self.rate)
        return x * (kept / (1 - self.rate))
