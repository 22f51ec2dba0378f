"""MTAN on a ResNet and on SegNet, and SegNet, as released."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mtlbench.backbones.base import pad_to_multiple
from mtlbench.backbones.halves import stage_halves
from mtlbench.model import Outputs
from naive.shared import NaiveForm, convolved, resized

STEP = 32
"""Sides of SegNet's images are multiples of it."""


class NaiveMTAN(NaiveForm):
    """Each task's attention sees the concatenation of the shared map and its own."""

    parts: ClassVar = ("whole",)
    backbone = "resnet18-dilated"

    def forward(self, images: Tensor) -> Outputs:
        """Normalised images (B, 3, H, W) -> predictions at (H, W)."""
        net, (height, width) = self.network, images.shape[-2:]
        halves = stage_halves(net.backbone, images)
        final = {}
        for t, head in net.heads.items():
            own: Tensor | None = None
            for stage, (before, after) in zip(net.attention, halves, strict=True):
                if own is not None and own.shape[-2:] != before.shape[-2:]:
                    own = F.max_pool2d(own, 2, ceil_mode=True)
                seen = before if own is None else torch.cat([before, own], dim=1)
                masked = net.attention[stage][t](seen) * after
                own = net.refine[stage](masked) if stage in net.refine else masked
            final[t] = resized(deeplab(head, own), (height, width))
        return Outputs(final)


def deeplab(head: Any, x: Tensor) -> Tensor:
    """Layer after layer of the head: (B, C, h, w) -> (B, K, h, w)."""
    aspp, *rest = head
    *convolutions, pooling = aspp.convs
    pooled = applied(pooling, x).expand(-1, -1, *x.shape[2:])
    found = torch.cat([*(applied(branch, x) for branch in convolutions), pooled], dim=1)
    return applied(rest, applied(aspp.project, found))


def applied(layers: Any, x: Tensor) -> Tensor:
    """Layer after layer, convolutions as torch has them."""
    for layer in layers:
        x = convolved(layer, x) if isinstance(layer, nn.Conv2d) else layer(x)
    return x


class NaiveSegNetForm(NaiveForm):
    """What all networks on SegNet do alike."""

    parts: ClassVar = ("whole",)
    backbone = "-"

    def forward(self, images: Tensor) -> Outputs:
        """Images (B, 3, H, W) in [0, 1] -> predictions at (H, W)."""
        height, width = images.shape[-2:]
        maps = self.features(pad_to_multiple(images, STEP))
        predictions = self.network.predictions
        return Outputs({t: applied(predictions[t], x)[..., :height, :width] for t, x in maps.items()})

    def features(self, x: Tensor) -> dict[str, Tensor]:
        """(B, 3, H, W) -> task -> (B, C, H, W)."""
        raise NotImplementedError


class NaiveSegNet(NaiveSegNetForm):
    """The network that all tasks share."""

    def features(self, x: Tensor) -> dict[str, Tensor]:
        """(B, 3, H, W) -> task -> (B, C, H, W)."""
        net = self.network.network
        indices = []
        for stage in net.encoder:
            x, places = F.max_pool2d_with_indices(stage.rest(stage.first(x)), (2, 2))
            indices.append(places)
        for stage in reversed(net.decoder):
            x = stage.rest(stage.first(F.max_unpool2d(x, indices.pop(), (2, 2))))
        return dict.fromkeys(self.network.tasks, x)


class NaiveMTANSegNet(NaiveSegNetForm):
    """Attention of one task after the other, through all stages."""

    def features(self, x: Tensor) -> dict[str, Tensor]:
        """(B, 3, H, W) -> task -> (B, C, H, W)."""
        net = self.network
        first, last, indices, unpooled, decoded = [], [], [], [], []
        for stage in net.encoder:
            first.append(stage.first(x))
            last.append(stage.rest(first[-1]))
            x, places = F.max_pool2d_with_indices(last[-1], (2, 2))
            indices.append(places)
        for stage in reversed(net.decoder):
            unpooled.append(F.max_unpool2d(x, indices.pop(), (2, 2)))
            x = stage.rest(stage.first(unpooled[-1]))
            decoded.append(x)
        return {t: self.decoded(t, self.encoded(t, first, last), unpooled, decoded) for t in net.tasks}

    def encoded(self, task: str, first: Sequence[Tensor], last: Sequence[Tensor]) -> Tensor:
        """What the shared encoder's first and last convolutions gave -> the task's coarsest map."""
        net = self.network
        own: Tensor | None = None
        for k, attend in enumerate(net.encoder_attention[task]):
            mask = attend(first[k] if own is None else torch.cat([first[k], own], dim=1))
            own = F.max_pool2d(net.encoder_convs[k](mask * last[k]), 2)
        assert own is not None
        return own

    def decoded(
        self, task: str, own: Tensor, unpooled: Sequence[Tensor], decoded: Sequence[Tensor]
    ) -> Tensor:
        """The task's coarsest map, and what the shared decoder's stages got and gave -> its finest."""
        net = self.network
        for step, (given, made) in enumerate(zip(unpooled, decoded, strict=True), start=1):
            own = F.interpolate(own, scale_factor=2, mode="bilinear", align_corners=True)
            own = net.decoder_convs[-step](own)
            own = net.decoder_attention[task][-step](torch.cat([given, own], dim=1)) * made
        return own
