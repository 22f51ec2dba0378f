"""Attention between tokens that stand at the same position: of several tasks, or of a batch's samples.

The sequences are a handful of tokens long and there are as many as the map has positions, so neither all
tokens' attention to all nor one matrix product per position would do.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mtlbench.profiling import attention_macs

TOGETHER = 8
"""Positions, at most, that share one call of the attention kernel: single ones keep it waiting; more means
more products that the mask throws away."""

LARGEST = 65535
"""Groups of positions in one call: GPU kernels take no more."""


def attend_at_positions(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    """softmax(q k^T / sqrt(d)) v of each head, at each position by itself.

    Neighbouring positions go into one attention whose mask keeps them apart: a masked score is -inf, its
    weight exactly 0.

    Args:
        q: (P, S, C), S tokens at each of P positions.
        k: (P, M, C).
        v: (P, M, C).
        heads: each with C / heads channels.

    Returns:
        (P, S, C).
    """
    positions, asking, asked = q.shape[0], q.shape[1], k.shape[1]
    if asked == 1:  # the only token has all the weight
        return v.expand(-1, asking, -1)
    together = max(g for g in range(1, TOGETHER + 1) if positions % g == 0)
    if positions // together > LARGEST:
        size = LARGEST // TOGETHER * TOGETHER
        parts = zip(q.split(size), k.split(size), v.split(size), strict=True)
        return torch.cat([attend_at_positions(*part, heads) for part in parts])
    apart = torch.eye(together, dtype=torch.bool, device=q.device)
    mask = apart.repeat_interleave(asking, dim=0).repeat_interleave(asked, dim=1)
    shape = (positions // together, -1, heads, q.shape[2] // heads)
    q, k, v = (x.reshape(shape).transpose(1, 2) for x in (q, k, v))
    seen = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    return seen.transpose(1, 2).reshape(positions, asking, -1)


def attend_to_projected(q: Tensor, tokens: Tensor, to_k: Tensor, to_v: Tensor, heads: int) -> Tensor:
    """softmax(q (W_k y)^T / sqrt(d)) W_v y of each head, at each position by itself.

    Both projections are done on the asking side: q . W_k y = (W_k^T q) . y, and W_v waits until the tokens
    are summed. With M tokens for one that asks, that is an M-th of the work. Biases don't belong here: one of
    keys has no effect, one of values is added to the answer as it is.

    Args:
        q: (P, S, C), S tokens at each of P positions.
        tokens: y, (P, M, C).
        to_k: W_k, (C, C).
        to_v: W_v, (C, C).
        heads: each with C / heads channels.

    Returns:
        (P, S, C).
    """
    keys, values = (w.unflatten(0, (heads, -1)) for w in (to_k, to_v))  # (heads, d, C)
    own = (q * keys.shape[1] ** -0.5).unflatten(2, (heads, -1)).unbind(2)  # heads times (P, S, d)
    moved = torch.cat([x @ w for x, w in zip(own, keys, strict=True)], dim=1)  # (P, heads S, C)
    shares = torch.bmm(moved, tokens.mT).softmax(dim=-1)  # (P, heads S, M)
    means = torch.bmm(shares, tokens).chunk(heads, dim=1)  # heads times (P, S, C)
    return torch.cat([x @ w.mT for x, w in zip(means, values, strict=True)], dim=-1)


def ask_at_positions(attention: nn.MultiheadAttention, x: Tensor, asked: Tensor | None = None) -> Tensor:
    """What `attention` computes, at each position by itself.

    Args:
        attention: gives the parameters.
        x: tokens (P, S, C) that ask.
        asked: tokens (P, M, C); None: `x`.

    Returns:
        (P, S, C).
    """
    weight, bias, dim = attention.in_proj_weight, attention.in_proj_bias, x.shape[2]
    if asked is None:
        q, k, v = F.linear(x, weight, bias).chunk(3, dim=-1)
        answer = attend_at_positions(q, k, v, attention.num_heads)
    else:
        q = F.linear(x, weight[:dim], bias[:dim])
        to_k, to_v = weight[dim:].chunk(2)
        answer = attend_to_projected(q, asked, to_k, to_v, attention.num_heads) + bias[2 * dim :]
    projected: Tensor = attention.out_proj(answer)
    return projected


class TaskInteraction(nn.Module):
    """Tokens of all tasks attend to each other, at each position of each sample by itself.

    Args:
        dim: width of the tokens.
        heads: of the attention.
        over_batch: attend over the batch instead: a token sees the same task's tokens at the same position
            in all samples, as published code does that takes the batch axis for the sequence.
    """

    def __init__(self, dim: int, heads: int, *, over_batch: bool) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(dim, heads)
        self.over_batch = over_batch

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, T, C) -> (B, N, T, C)."""
        if not self.over_batch:
            return ask_at_positions(self.attention, x.flatten(0, 1)).view(x.shape)
        sequences = x.permute(1, 2, 0, 3)  # (N, T, B, C)
        seen = ask_at_positions(self.attention, sequences.flatten(0, 1))
        return seen.view(sequences.shape).permute(2, 0, 1, 3)

    def module_macs(self, inputs: tuple[Tensor], output: Any, counted: Any) -> int:
        """See `mtlbench.profiling`: published code gives the attention (B, T N, C)."""
        tokens = inputs[0].flatten(1, 2).shape
        return attention_macs(self.attention, tokens, tokens, tokens)


class TaskQueryAtPosition(nn.Module):
    """One task's token asks the tokens of all tasks at its own position.

    Args:
        dim: width of the tokens.
        heads: of the attention.
        over_batch: it asks those of all samples of the batch.
    """

    def __init__(self, dim: int, heads: int, *, over_batch: bool) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(dim, heads)
        self.over_batch = over_batch

    def forward(self, x: Tensor, asked: Tensor) -> Tensor:
        """One task's tokens (B, N, C) and all tasks' (B, N, T, C) -> (B, N, C)."""
        if not self.over_batch:
            answers = ask_at_positions(self.attention, x.flatten(0, 1)[:, None], asked.flatten(0, 1))
            return answers.view(x.shape)
        everyone = asked.transpose(0, 1).flatten(1, 2)  # (N, B T, C)
        return ask_at_positions(self.attention, x.transpose(0, 1), everyone).transpose(0, 1)

    def module_macs(self, inputs: tuple[Tensor, Tensor], output: Any, counted: Any) -> int:
        """See `mtlbench.profiling`: published code gives the longer keys to the attention as they are."""
        tokens = inputs[1].flatten(1, 2).shape
        return attention_macs(self.attention, inputs[0].shape, tokens, tokens)
