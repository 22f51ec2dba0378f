"""Prompt tokens in the attention of transformer blocks (VPT); nothing but the attention is replaced.

In a Swin prompts stand before the tokens of every window, with no position bias and no mask, and what comes
out for them is averaged over the windows. *Deep* prompts are each block's own: what comes out for them is
dropped. *Shallow* ones are those of the first block and go on through all: what a block's MLP does to them is
done by the attention of the next block, and where a Swin merges patches, each is merged with itself.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Carried:
    """Shallow prompts on their way through one pass.

    Attributes:
        images: in the batch.
        tokens: (B, P, C) behind the last block's attention.
        block: it.
    """

    images: int
    tokens: Tensor | None = None
    block: Any = None

    def begin(self, backbone: nn.Module, inputs: tuple[Any, ...]) -> None:
        """Before the backbone's pass."""
        self.images, self.tokens, self.block = len(inputs[0]), None, None


class PromptedAttention(nn.Module):
    """Attention of a block of timm's Swin or ViT, with prompts.

    Args:
        block: whose attention it is.
        prompts: how many start here; 0: it goes on with those that are carried.
        bound: initial values are uniform between -bound and bound.
        carried: None: deep prompts.
        merging: Swin's merging of patches that stands before the block, if one does.
    """

    def __init__(
        self, block: Any, prompts: int, bound: float, *, carried: Carried | None = None, merging: Any = None
    ) -> None:
        super().__init__()
        self.attention = block.attn
        self.window_size = getattr(block.attn, "window_size", None)
        self.around = (block, merging)  # in a tuple, so that their parameters aren't entries of this, too
        self.carried = carried
        weight = block.attn.qkv.weight
        self.prompts = None
        if prompts:
            empty = torch.empty(1, prompts, weight.shape[1], device=weight.device, dtype=weight.dtype)
            self.prompts = nn.Parameter(nn.init.uniform_(empty, -bound, bound))

    def forward(self, x: Tensor, mask: Tensor | None = None, **_: Any) -> Tensor:
        """Tokens of each window or image, (B, N, C), after the block's first norm -> (B, N, C)."""
        before = self._prompts(x)
        prompts = self.around[0].norm1(before)
        each = len(x) // len(prompts)
        found = self._attend(
            torch.cat([prompts.repeat_interleave(each, 0), x], dim=1), mask, prompts.shape[1]
        )
        count = prompts.shape[1]
        if self.carried is not None:
            update = found[:, :count].unflatten(0, (len(prompts), each)).mean(1)
            self.carried.tokens, self.carried.block = before + update, self.around[0]
        return found[:, count:]

    def _prompts(self, x: Tensor) -> Tensor:
        """(B, P, C) of the images, or (1, P, C) of all; before the norm."""
        if self.carried is None:
            assert self.prompts is not None
            return self.prompts.clone()  # counters can't follow a parameter into a module
        if self.prompts is not None:
            return self.prompts.repeat(self.carried.images, 1, 1)
        assert self.carried.tokens is not None
        block, (_, merging) = self.carried.block, self.around
        tokens = self.carried.tokens + block.mlp(block.norm2(self.carried.tokens))
        return tokens if merging is None else merging.reduction(merging.norm(tokens.repeat(1, 1, 4)))

    def _attend(self, tokens: Tensor, mask: Tensor | None, prompts: int) -> Tensor:
        attention: Any = self.attention
        q, k, v = attention.qkv(tokens).unflatten(-1, (3, attention.num_heads, -1)).permute(2, 0, 3, 1, 4)
        bias = self._bias(mask, prompts, len(tokens), tokens.dtype)
        answers = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        attended: Tensor = attention.proj(answers.transpose(1, 2).flatten(2))
        return attended

    def _bias(self, mask: Tensor | None, prompts: int, batch: int, dtype: torch.dtype) -> Tensor | None:
        """Of a Swin: position bias and mask of the window's tokens, zero for prompts."""
        if self.window_size is None:
            return None
        bias = self.attention._get_rel_pos_bias()  # (1, heads, w w, w w)
        if mask is not None:
            bias = (bias + mask[:, None]).repeat(batch // len(mask), 1, 1, 1)
        return F.pad(bias, (prompts, 0, prompts, 0)).to(dtype)
