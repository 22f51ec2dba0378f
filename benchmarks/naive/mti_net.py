"""MTI-Net, as released, for images of any size."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mtlbench.model import Outputs
from naive.shared import NaiveForm, Size, concatenated, distilled, fused, resized


class NaiveMTINet(NaiveForm):
    """Two convolutions for every ordered pair of tasks at every scale, one after the other."""

    def decode(self, features: list[Tensor], size: Size) -> Outputs:
        """Features (B, C_s, h_s, w_s) -> predictions (B, K_t, *size), auxiliary ones (B, K_a, h_s, w_s)."""
        net = self.network
        found: dict[int, dict[str, Tensor]] = {}
        auxiliary = {}
        coarser: dict[str, Tensor] = {}
        for s in reversed(range(len(features))):
            scale, x = net.scales[s], features[s]
            size_s = (x.shape[2], x.shape[3])
            found[s] = {
                a: blocks(torch.cat([x, resized(coarser[a], size_s)], dim=1) if coarser else x)
                for a, blocks in scale.refine.items()
            }
            predicted = {a: scale.logits[a](f) for a, f in found[s].items()}
            auxiliary[f"deep_supervision.scale_{s}"] = predicted
            coarser = propagated(net.propagation[str(s)], found[s]) if s else {}
        final = {}
        for t in net.main:
            scales = [distilled(net.distillation[s], found[s], t) for s in range(len(features))]
            *fuse, logits = net.heads[t].last_layer
            final[t] = resized(logits(fused(fuse, concatenated(scales))), size)
        return Outputs(final, auxiliary)


def propagated(layer: Any, found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Feature propagation: all tasks' features (B, C, H, W) -> what each is given at the finer scale."""
    z = torch.cat(list(found.values()), dim=1)  # (B, T C, H, W)
    if layer.mask is not None:
        batch, channels, *size = z.shape
        groups = (batch, channels // len(found), len(found), *size)
        mask = layer.mask(z).view(groups).softmax(dim=2)
        z = (z.view(groups) * mask).view(batch, channels, *size)
    r = layer.reduce(z)
    given = {}
    for task, f in found.items():
        weights = torch.sigmoid(layer.excite[task].squeeze(r.mean(dim=(2, 3))))
        given[task] = r * weights[:, :, None, None] + f
    return given
