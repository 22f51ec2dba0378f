"""DeGMix, as released for feature pyramids."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from mtlbench.model import Outputs
from naive.demt import mixed_by
from naive.shared import NaiveForm, Size, any_attention, concatenated, convolved, map_of, tokens_of


class NaiveDeGMix(NaiveForm):
    """Attention without a softmax makes its matrix all the same, for all samples, of which one is used."""

    def decode(self, features: list[Tensor], size: Size) -> Outputs:
        """Features (B, C_i, h_i, w_i) -> predictions (B, K_t, *size)."""
        net = self.network
        x = embedded(net.embed, concatenated(features))  # (B, C, h, w)
        mixed = [tokens_of(mixed_by(mixer, x)) for mixer in net.mixers.values()]  # T times (B, N, C)
        together = torch.cat(mixed, dim=1)  # (B, T N, C)
        fused = net.fusion_mlp(net.fusion.attention(together, together, together)[0])
        final = {}
        for i, task in enumerate(net.tasks):
            asked = any_attention(net.queries[task], mixed[i], fused, fused, softmax=False)
            answered = mixed[i] + net.query_mlps[task](asked[0])
            q = map_of(gated(net.gate, answered), (x.shape[2], x.shape[3]))
            final[task] = self.predict(task, q, size)
        return Outputs(final)


def embedded(layer: Any, x: Tensor) -> Tensor:
    """Patches of 4x4, the map padded with zeros right and below: (B, C, H, W) -> (B, D, h, w)."""
    x = F.pad(x, (0, -x.shape[3] % layer.patch, 0, -x.shape[2] % layer.patch))
    x = convolved(layer.projection, x)
    size = (x.shape[2], x.shape[3])
    return map_of(layer.norm(tokens_of(x)), size)


def gated(units: Any, x: Tensor) -> Tensor:
    """Gating units, whose gate is a convolution along the tokens: (B, N, C) -> the same."""
    for unit in units:
        u, v = F.gelu(unit.expand(unit.norm(x))).chunk(2, dim=-1)
        v = unit.gate_norm(v).transpose(1, 2)
        gate = F.conv1d(v, unit.gate.weight.unsqueeze(2), unit.gate.bias).transpose(1, 2)
        x = x + unit.project(u * gate)
    return x
