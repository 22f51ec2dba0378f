"""ATRC, as released; the local context by unfolding the windows (the released code has a CUDA kernel)."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from mtlbench.model import Outputs
from naive.shared import NaiveForm, Size, attend, concatenated, conv_bn_relu, map_of, resized, tokens_of

GLOBAL, LOCAL, T_LABEL, S_LABEL = range(1, 5)
WINDOW = 9


class NaiveATRC(NaiveForm):
    """Every pair of tasks makes its regions, and its matrix of attention weights, for itself."""

    def decode(self, features: list[Tensor], size: Size) -> Outputs:
        """Features (B, C_i, h_i, w_i) -> predictions (B, K_t, *size), auxiliary ones (B, K'_t, h_0, w_0)."""
        net = self.network
        x = concatenated(features)
        f = {t: conv_bn_relu(net.bottleneck[t], x) for t in net.tasks}
        auxiliary = {t: net.aux_logits[t](conv_bn_relu(conv, x.detach())) for t, conv in net.aux_conv.items()}
        shares = {t: logits.flatten(2).softmax(dim=2) for t, logits in auxiliary.items()}  # (B, K, N)
        final = {}
        for target in net.tasks:
            related = []
            for source, context in net.contexts[target].items():
                kind = net.genotype[target][source]
                labels = shares.get(target if kind == T_LABEL else source)
                related.append(answer(kind, context, f[target], f[source], labels))
            both = [f[target]]
            if related:
                both.append(net.out_proj[target](torch.cat(related, dim=1)))
            g = net.dropout(conv_bn_relu(net.fuse[target], torch.cat(both, dim=1)))
            final[target] = resized(net.final_logits[target](g), size)
        return Outputs(final, {"aux": auxiliary} if auxiliary else {})


def answer(kind: int, context: Any, target: Tensor, source: Tensor, labels: Tensor | None) -> Tensor:
    """Features (B, C, H, W) of both tasks and region weights (B, K, H W) -> (B, D, H, W)."""
    if kind in (T_LABEL, S_LABEL):
        assert labels is not None
        regions = (labels @ tokens_of(source)).transpose(1, 2).unsqueeze(3)  # (B, C, K, 1)
    else:
        regions = source
    q, k, v = context.query(target), context.key(regions), context.value(regions)
    if kind == GLOBAL:
        return linear_attention(q, k, v)
    if kind == LOCAL:
        return window_attention(q, k, v)
    attended = attend(tokens_of(q), tokens_of(k), tokens_of(v), q.shape[1] ** -0.5)
    return map_of(attended, (q.shape[2], q.shape[3]))


def linear_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """All positions; (B, D, H, W) each."""
    queries, k, v = q.flatten(2), k.flatten(2), v.flatten(2)  # (B, D, N)
    norm = k.sum(dim=2, keepdim=True).transpose(1, 2) @ queries
    return ((v @ k.transpose(1, 2)) @ queries / norm.clamp(min=1e-12)).view_as(q)


def window_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The 9x9 positions around, those outside the map with zeros; (B, D, H, W) each."""
    batch, dim, height, width = q.shape

    def windows(x: Tensor) -> Tensor:
        return F.unfold(x, WINDOW, padding=WINDOW // 2).view(batch, dim, WINDOW**2, height, width)

    similarity = (q.unsqueeze(2) * windows(k)).sum(dim=1) * dim**-0.5  # (B, 81, H, W)
    weights = similarity.softmax(dim=1)
    return (windows(v) * weights.unsqueeze(1)).sum(dim=2)
