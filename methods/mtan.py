"""MTAN on a ResNet: a shared network, and in each task attention to what of its stages the task needs.

Paper: Liu, Johns, Davison, "End-to-End Multi-Task Learning with Attention", CVPR 2019. After the code that
Vandenhende et al. released with their survey ("Multi-Task Learning for Dense Prediction Tasks", PAMI 2021),
SimonVandenhende/Multi-Task-Learning-PyTorch, on a dilated ResNet. With b_L what all blocks of stage L but the
last give, and u_L what the last gives:

    a_1 = pool(refine_1(att_{1,t}(b_1) u_1))
    a_L = refine_L(att_{L,t}([b_L; a_{L-1}]) u_L)     L = 2, 3; pooled where stage L + 1 has half the size
    y_t = up(DeepLab_t(att_{4,t}([b_4; a_3]) u_4))

att (two pointwise convolutions and a sigmoid, a quarter as wide inside) is each task's own, refine (a
bottleneck block) shared by the tasks; pool: 2x2 maximum.

Departures from the released code: none where sides are multiples of 8. On ResNets without dilation, which it
does not cover, maps are pooled after every stage.
"""

import re
from collections.abc import Iterable
from itertools import pairwise
from typing import ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mtlbench.backbones.base import Backbone
from mtlbench.backbones.halves import STAGES, last_blocks, stage_halves
from mtlbench.model import Method, Outputs
from mtlbench.published import Rule
from mtlbench.resizing import resize
from mtlbench.tasks import Tasks

from .layers.deeplab import DeepLabHead
from .layers.mtan_attention import attention
from .layers.residual import bottleneck

REDUCTION = 4
"""Channels of a stage for each inside its attention."""


class MTAN(Method):
    """MTAN: each task masks the maps of a shared ResNet's stages by attention of its own.

    Args:
        backbone: a ResNet.
        tasks: what to predict.
    """

    paper = "Liu, Johns and Davison, CVPR 2019"
    code = "after the code released with a survey, SimonVandenhende/Multi-Task-Learning-PyTorch"
    inside_backbone: ClassVar[bool] = True

    published_keys = (
        Rule(r"attention_(\d)\.", r"attention.layer\1."),
        Rule(r"refine_(\d)\.0\.", r"refine.layer\1."),
    )

    def __init__(self, backbone: Backbone, tasks: Tasks) -> None:
        super().__init__(backbone, tasks)
        last_blocks(backbone)  # raises for what is no ResNet
        widths = dict(zip(STAGES, backbone.channels, strict=True))
        self.attention = nn.ModuleDict(
            {
                stage: nn.ModuleDict({t: attention(_seen(stage, c), c // REDUCTION, c) for t in tasks})
                for stage, c in widths.items()
            }
        )
        self.refine = nn.ModuleDict(
            {stage: bottleneck(widths[stage], widths[after]) for stage, after in pairwise(STAGES)}
        )
        self.heads = nn.ModuleDict(
            {t: DeepLabHead(widths[STAGES[-1]], task.channels) for t, task in tasks.items()}
        )

    @classmethod
    def unsupported(cls, tasks: Iterable[str], backbone: str) -> str | None:
        """All but ResNets: it attends to what is between the blocks of their stages."""
        if re.match(r"(wide_)?resnex?t(?!v2)", backbone):
            return None
        return (
            f"MTAN attends to the blocks of a ResNet, got {backbone} (`mtan_segnet` brings its own network)"
        )

    def forward(self, images: Tensor) -> Outputs:
        """Normalised images (B, 3, H, W) -> predictions at (H, W)."""
        halves = dict(zip(STAGES, stage_halves(self.backbone, images), strict=True))  # b_L, u_L
        size = images.shape[-2:]
        return Outputs({t: resize(head(self._attend(t, halves)), size) for t, head in self.heads.items()})

    def _attend(self, task: str, halves: dict[str, tuple[Tensor, Tensor]]) -> Tensor:
        """b_L and u_L of all stages -> what the task's head sees, (B, C_4, h_4, w_4)."""
        own: Tensor | None = None
        for stage, (before, after) in halves.items():
            if own is not None and own.shape[-2:] != before.shape[-2:]:
                own = F.max_pool2d(own, 2, ceil_mode=True)
            seen = before if own is None else torch.cat([before, own], dim=1)
            attend = cast(nn.ModuleDict, self.attention[stage])[task]
            masked = attend(seen) * after
            own = self.refine[stage](masked) if stage in self.refine else masked
        assert own is not None
        return own


def _seen(stage: str, channels: int) -> int:
    """Channels that a stage's attention sees: from the second on also those of the one before."""
    return channels if stage == STAGES[0] else 2 * channels
