"""MTAN on SegNet: a shared network, and in each task attention to what of its maps the task needs.

Paper: Liu, Johns, Davison, "End-to-End Multi-Task Learning with Attention", CVPR 2019. After the released
code, lorenmt/mtan, which the benchmarks of loss balancing (CAGrad, Nash-MTL ...) go on using. With p_k, q_k
what the first convolution of the shared encoder's stage k gives and what its last gives, U_k, D_k what the
decoder's stage k gets (unpooled) and gives:

    e_k = pool(conv_k(att_{k,t}([p_k; e_{k-1}]) q_k))     encoder, k = 0 .. 4; e_{-1}: nothing
    y_k = conv'_k(up(d_{k+1}))                            decoder, k = 4 .. 0; d_5 = e_4
    d_k = att'_{k,t}([U_k; y_k]) D_k
    y_t = logits_t(conv3x3_t(d_0))

conv_k and conv'_k (3x3, batch norm, ReLU) are shared by the tasks, att (two pointwise convolutions and a
sigmoid) is each task's own; pool: 2x2 maximum; up: bilinear, corners aligned. With one task it is the
single-task attention network STAN.

As released: the decoder's attention sees the unpooled map, not what the stage's first convolution makes of
it. Departures from the released code: those of `segnet`.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mtlbench.backbones.base import Backbone
from mtlbench.published import Rule, for_tasks
from mtlbench.tasks import Tasks

from .layers.mtan_attention import attention
from .layers.segnet import (
    WIDTHS,
    Stage,
    convolutions,
    decoder_widths,
    initialise,
    pool,
    stages,
    stages_of,
    unpool,
)
from .layers.segnet_method import PREFIX, SegNetMethod, published_predictions


class MTANSegNet(SegNetMethod):
    """MTAN on SegNet: each task masks the maps of a shared SegNet by attention of its own.

    Args:
        backbone: none; the network is its own.
        tasks: what to predict.
        widths: channels of the five stages.
        variant: `corrected` or `published`.
        without: quirks of the variant to leave out.

    Quirks:
        unused_weights: there are three `logsigma`, which only the loss reads; corrected: none.
    """

    paper = "Liu, Johns and Davison, CVPR 2019"
    code = "after the released code, lorenmt/mtan"

    def __init__(
        self,
        backbone: Backbone | None,
        tasks: Tasks,
        *,
        widths: tuple[int, ...] = WIDTHS,
        variant: Literal["corrected", "published"] = "corrected",
        without: tuple[str, ...] = (),
    ) -> None:
        super().__init__(tasks, widths, method="mtan_segnet")
        self.keep_quirks(variant, without)
        self.encoder, self.decoder = stages(widths)
        self.encoder_attention = nn.ModuleDict({t: _encoder_attention(widths) for t in tasks})
        self.decoder_attention = nn.ModuleDict({t: _decoder_attention(widths) for t in tasks})
        ahead = (*widths[1:], widths[-1])
        self.encoder_convs = nn.ModuleList(convolutions(a, b) for a, b in zip(widths, ahead, strict=True))
        self.decoder_convs = nn.ModuleList(convolutions(a, b) for a, b, _ in decoder_widths(widths))
        self.add_predictions(widths[0])
        initialise(self)
        self.published_keys = (
            *for_tasks([Rule(PREFIX + r"(encoder|decoder)_att\.TASK\.", r"\1_attention.TASK.")], tasks),
            Rule(PREFIX + r"(encoder|decoder)_block_att\.", r"\1_convs."),
            Rule(PREFIX + r"(encoder|decoder)_block\.(\d+)\.", r"\1.\2.first."),
            Rule(PREFIX + r"conv_block_(enc|dec)\.(\d+)\.", r"\1oder.\2.rest."),
            *published_predictions(tasks),
        )

    def features(self, x: Tensor) -> dict[str, Tensor]:
        """Images (B, 3, H, W), sides multiples of 32 -> task -> (B, C_0, H, W)."""
        first, last, indices = [], [], []  # p_k, q_k, places of maxima
        for stage in self.encoder:
            assert isinstance(stage, Stage)
            first.append(stage.first(x))
            last.append(stage.rest(first[-1]))
            x, places = pool(last[-1])
            indices.append(places)
        encoded = {t: self._encode(t, first, last) for t in self.tasks}
        unpooled, decoded = [], []  # U_k, D_k, the coarsest first
        for stage, places in zip(reversed(self.decoder), reversed(indices), strict=True):
            unpooled.append(unpool(x, places))
            decoded.append(x := stage(unpooled[-1]))
        return {t: self._decode(t, encoded[t], unpooled, decoded) for t in self.tasks}

    def _encode(self, task: str, first: Sequence[Tensor], last: Sequence[Tensor]) -> Tensor:
        """p_k and q_k of all stages -> e_4."""
        own: Tensor | None = None
        for k, attend in enumerate(stages_of(self.encoder_attention, task)):
            mask = attend(first[k] if own is None else torch.cat([first[k], own], dim=1))
            own = F.max_pool2d(self.encoder_convs[k](mask * last[k]), 2)
        assert own is not None
        return own

    def _decode(
        self, task: str, own: Tensor, unpooled: Sequence[Tensor], decoded: Sequence[Tensor]
    ) -> Tensor:
        """e_4, and U_k and D_k of all stages, the coarsest first -> d_0."""
        layers = zip(
            reversed(self.decoder_convs), reversed(stages_of(self.decoder_attention, task)), strict=True
        )
        for (conv, attend), given, made in zip(layers, unpooled, decoded, strict=True):
            own = F.interpolate(own, scale_factor=2, mode="bilinear", align_corners=True)
            own = attend(torch.cat([given, conv(own)], dim=1)) * made
        return own


def _encoder_attention(widths: Sequence[int]) -> nn.ModuleList:
    """[p_k; e_{k-1}] -> a mask of q_k; both are as wide as stage k, and at k = 0 there is no e."""
    return nn.ModuleList(attention(2 * c if k else c, c, c) for k, c in enumerate(widths))


def _decoder_attention(widths: Sequence[int]) -> nn.ModuleList:
    """[U_k; y_k] -> a mask of D_k: as wide as stage k, and twice as stage k - 1."""
    return nn.ModuleList(
        attention(given + made, made, made) for made, given in pairwise((widths[0], *widths))
    )
