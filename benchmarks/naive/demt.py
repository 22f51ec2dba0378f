"""DeMT, as released."""

from typing import Any

import torch
from torch import Tensor

from mtlbench.model import Outputs
from naive.shared import NaiveForm, Size, concatenated, deformable_mixer, map_of, tokens_of


class NaiveDeMT(NaiveForm):
    """`deform_conv2d` with an offset for each channel, `nn.MultiheadAttention` as it was called."""

    def decode(self, features: list[Tensor], size: Size) -> Outputs:
        """Features (B, C_i, h_i, w_i) -> predictions (B, K_t, *size)."""
        net = self.network
        x = concatenated(features)
        batch, _, height, width = x.shape
        x = net.embed[1](net.embed[0](x.permute(0, 2, 3, 1)))  # (B, h, w, C)
        x = x.permute(0, 3, 1, 2).contiguous()
        mixed = [tokens_of(mixed_by(mixer, x)) for mixer in net.mixers.values()]  # T times (B, N, C)
        together = torch.cat(mixed, dim=1)  # (B, T N, C)
        fused = net.interaction_mlp(net.interaction.attention(together, together, together)[0])
        # keys are taken apart into as many positions as the queries have: all tasks and samples at each
        keys = fused.reshape(batch * len(mixed), height * width, -1)
        final = {}
        for i, task in enumerate(net.tasks):
            asked = net.queries[task].attention(mixed[i], keys, keys)[0]
            q = map_of(mixed[i] + net.query_mlps[task](asked), (height, width))
            final[task] = self.predict(task, q, size)
        return Outputs(final)


def mixed_by(mixer: Any, x: Tensor) -> Tensor:
    for block in mixer:
        x = deformable_mixer(block, x)
    return x
