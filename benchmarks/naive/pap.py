"""PAP, by our reading, as its equations are written."""

import torch
from torch import Tensor

from mtlbench.model import Outputs
from naive.shared import NaiveForm, Size, concatenated, fused, map_of, resized, tokens_of


class NaivePAP(NaiveForm):
    """Matrices of affinities are made, and mixed for each task; every step is made everywhere."""

    def decode(self, features: list[Tensor], size: Size) -> Outputs:
        """Features (B, C_i, h_i, w_i) -> predictions (B, K_t, *size), initial ones (B, K_t, h_0, w_0)."""
        net = self.network
        x = fused(net.fuse, concatenated(features))
        found = {t: net.initial[t](x) for t in net.tasks}
        initial = {t: net.initial_logits[t](f) for t, f in found.items()}
        maps = {t: net.affinity[t](f) for t, f in found.items()}
        step, scale = net.propagation.stride, next(iter(maps.values())).shape[1] ** -0.5
        matrices = torch.stack(
            [
                (tokens_of(a) @ tokens_of(a[:, :, ::step, ::step]).transpose(1, 2) * scale).softmax(dim=-1)
                for a in maps.values()
            ]
        )  # (T, B, N, M)
        final = {}
        for t, start in maps.items():
            shares = net.propagation.weights[t].softmax(0)
            mixed = (shares[:, None, None, None] * matrices).sum(0)
            h = start
            for _ in range(net.propagation.steps):
                brought = map_of(mixed @ tokens_of(h[:, :, ::step, ::step]), (h.shape[2], h.shape[3]))
                h = net.propagation.beta * brought + (1 - net.propagation.beta) * start
            final[t] = resized(net.final_logits[t](net.refine[t](h)), size)
        return Outputs(final, {"initial": initial})
