"""PSD, by our reading, as its equations are written."""

import torch
from torch import Tensor
from torch.nn import functional as F

from mtlbench.model import Outputs
from naive.shared import NaiveForm, Size, concatenated, conv_bn_relu, resized


class NaivePSD(NaiveForm):
    """Windows are unfolded: each position has a copy of its own."""

    def decode(self, features: list[Tensor], size: Size) -> Outputs:
        """Features (B, C_i, h_i, w_i) -> predictions (B, K_t, *size), initial ones (B, K_t, h_0, w_0)."""
        net, x = self.network, concatenated(features)
        found = {t: conv_bn_relu(net.initial[t], x) for t in net.tasks}
        initial = {t: net.initial_logits[t](f) for t, f in found.items()}
        local = {t: pattern(net.query[t](f), net.window) for t, f in found.items()}
        final = {}
        for t, f in found.items():
            h = f
            for _ in range(net.steps):
                h = gathered(local[t], h, net.window)
            x = f + net.within[t](h)
            if t in net.between:
                x = x + net.between[t](gathered(handed_over(t, local), f, net.window))
            final[t] = resized(net.final_logits[t](x), size)
        return Outputs(final, {"initial": initial})


def unfolded(x: Tensor, window: int) -> Tensor:
    """(B, C, H, W) -> (B, C, p^2, H, W)."""
    return F.unfold(x, window, padding=window // 2).view(*x.shape[:2], window**2, *x.shape[2:])


def pattern(q: Tensor, window: int) -> Tensor:
    """(B, C, H, W) -> (B, p^2, H, W)."""
    scores = (q.unsqueeze(2) * unfolded(q, window)).sum(1) * q.shape[1] ** -0.5
    inside = unfolded(torch.ones_like(q[:1, :1]), window)[:, 0] > 0
    return scores.masked_fill(~inside, float("-inf")).softmax(dim=1)


def gathered(weights: Tensor, x: Tensor, window: int) -> Tensor:
    """(B, p^2, H, W) and (B, C, H, W) -> (B, C, H, W)."""
    return (weights.unsqueeze(1) * unfolded(x, window)).sum(2)


def handed_over(target: str, local: dict[str, Tensor]) -> Tensor:
    """The other tasks' patterns, by how well they match the target's: (B, p^2, H, W)."""
    total = torch.zeros_like(local[target])
    for source, weights in local.items():
        if source != target:
            total = total + F.cosine_similarity(local[target], weights, dim=1).unsqueeze(1) * weights
    return total / total.sum(dim=1, keepdim=True)
