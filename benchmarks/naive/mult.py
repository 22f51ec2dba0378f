"""MulT, by our reading, as its equations are written."""

from typing import Any

import torch
from torch import Tensor

from mtlbench.model import Outputs
from naive.shared import NaiveForm, Size, resized
from naive.windows import cut, joined, relative_bias, shift_mask, split, weighed, window_weights


class NaiveMulT(NaiveForm):
    """The matrices of the reference task are made once, as the paper says; layers act on padded windows."""

    def decode(self, features: list[Tensor], size: Size) -> Outputs:
        """Features (B, C_i, h_i, w_i) -> predictions (B, K_t, *size)."""
        net, x = self.network, {}
        for i, context in enumerate(features[::-1]):
            at = (context.shape[2], context.shape[3])
            context = context.permute(0, 2, 3, 1).contiguous()  # (B, h, w, C)
            x = {t: enlarged(net.ups[i - 1][t], x[t], at) if i else context for t in net.tasks}
            x = staged(net.stages[i], x, context, net.window)
        final = {}
        for t, y in x.items():
            final[t] = resized(net.final_logits[t](y.permute(0, 3, 1, 2).contiguous()), size)
        return Outputs(final)


def enlarged(layer: Any, x: Tensor, size: Size) -> Tensor:
    """(B, h, w, C) -> (B, *size, C')."""
    x = resized(x.permute(0, 3, 1, 2).contiguous(), size).permute(0, 2, 3, 1).contiguous()
    reduced: Tensor = layer.reduce(layer.norm(x))
    return reduced


def staged(stage: Any, x: dict[str, Tensor], context: Tensor, window: int) -> dict[str, Tensor]:
    context = stage.norm(context)
    mask = shift_mask((context.shape[1], context.shape[2]), window, window // 2, context)
    for i, block in enumerate(stage.blocks):
        x = shared(block, x, context, window, *((window // 2, mask) if i % 2 else (0, None)))
    return x


def shared(
    block: Any, x: dict[str, Tensor], context: Tensor, window: int, shift: int, mask: Tensor | None
) -> dict[str, Tensor]:
    """A block: each task's (B, H, W, C) -> the same."""
    size = (context.shape[1], context.shape[2])
    seen = {t: cut(torch.cat([block.norms1[t](y), context], dim=-1), window, shift) for t, y in x.items()}
    q, k = split(block.to_qk(seen[block.reference][0]), 2, block.heads)
    bias = relative_bias(block.bias.table, window)
    weights = window_weights(q, k, bias, mask, scale=q.shape[-1] ** -0.5)
    found = {}
    for t, y in x.items():
        windows, padded = seen[t]
        (v,) = split(block.to_v[t](windows), 1, block.heads)
        y = y + joined(block.proj[t](weighed(weights, v)), window, shift, padded, size)
        found[t] = y + block.mlps[t](block.norms2[t](y))
    return found
