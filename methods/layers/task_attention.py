"""Attention between the tokens of several tasks: all with all, and one task's tokens asking all."""

from torch import Tensor, nn
from torch.nn import functional as F


class TaskFusion(nn.Module):
    """Self-attention over the tokens of all tasks.

    Args:
        dim: width of the tokens.
        heads: of the attention.
        across_samples: take the batch axis for the sequence, as code does that calls `nn.MultiheadAttention`
        without
            `batch_first`: a token then attends to the same token of the batch's other samples. With one
            sample no token sees another.
    """

    def __init__(self, dim: int, heads: int, *, across_samples: bool) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(dim, heads, batch_first=not across_samples)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T N, C) -> (B, T N, C)."""
        return self.attention(x, x, x, need_weights=False)[0]


class TaskQuery(nn.Module):
    """One task's tokens ask all tasks' fused tokens: softmax(q k^T / sqrt(d)) v, each sample for itself."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_q, self.norm_k, self.norm_v = (nn.LayerNorm(dim) for _ in range(3))
        self.to_q, self.to_k, self.to_v = (nn.Linear(dim, dim, bias=False) for _ in range(3))
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, fused: Tensor) -> Tensor:
        """Tokens (B, N, C) and fused tokens (B, T N, C) -> (B, N, C)."""
        q = self._split(self.to_q(self.norm_q(x)))
        k = self._split(self.to_k(self.norm_k(fused)))
        v = self._split(self.to_v(self.norm_v(fused)))
        return self.proj(self.attend(q, k, v).transpose(1, 2).flatten(2))

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """(B, heads, N, d), (B, heads, M, d) twice -> (B, heads, N, d)."""
        return F.scaled_dot_product_attention(q, k, v)

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)  # (B, heads, N, d)


class LinearTaskQuery(TaskQuery):
    """As released: no softmax, and the answer to the batch's first sample is given to all samples."""

    def forward(self, x: Tensor, fused: Tensor) -> Tensor:
        """Tokens (B, N, C) and fused tokens (B, T N, C) -> (1, N, C)."""
        return super().forward(x[:1], fused[:1])

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """(q k^T / sqrt(d)) v, in the order that never makes an N x M matrix."""
        return q @ (k.transpose(-1, -2) @ v) * q.shape[-1] ** -0.5


class PositionTaskQuery(nn.Module):
    """A token asks the tokens of all tasks, and all samples of the batch, at its own position.

    What `nn.MultiheadAttention` of torch <= 1.8 did with batch-first tensors: the batch axis was the
    sequence, and the T times longer keys were re-viewed as T times more samples.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(dim, heads)

    def forward(self, x: Tensor, fused: Tensor) -> Tensor:
        """Tokens (B, N, C) and fused tokens (B, T N, C) -> (B, N, C)."""
        asked = fused.reshape(-1, *x.shape[1:])  # (B T, N, C): sequence, position, channel
        return self.attention(x, asked, asked, need_weights=False)[0]
