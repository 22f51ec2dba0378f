"""The multi-task baseline: one shared backbone, one small fully convolutional head per task.

After the `FCNHead` of ATRC (Bruggemann et al., "Exploring Relational Context for Multi-Task Dense
Prediction", ICCV 2021), which the papers of that code family call "multi-task baseline":

    X   = [F_1; up(F_2); up(F_3); up(F_4)]          all levels at the finest one's size
    y_t = up(logits_t(ReLU(BN(conv3x3_t(X)))))      for each task t

Departures from the published code: none.
"""

from torch import Tensor, nn

from mtlbench.backbones.base import Backbone
from mtlbench.errors import MtlbenchError
from mtlbench.model import Method, Outputs
from mtlbench.tasks import Tasks

from .layers.conv import ConvBNReLU, initialise_logits
from .layers.features import concat_features, resize


class MultiTask(Method):
    """Multi-task baseline: one shared backbone and a convolutional head for each task.

    Args:
        backbone: gives the features.
        tasks: what to predict.
        head_channels: width of the heads; None: a quarter of the features' (published). 96 reproduces the
            parameter counts of the Swin baselines in Table I of the DeGMix paper.
    """

    def __init__(self, backbone: Backbone, tasks: Tasks, *, head_channels: int | None = None) -> None:
        super().__init__(backbone, tasks)
        if head_channels is not None and head_channels < 1:
            raise MtlbenchError(f"`head_channels` must be >= 1 or null, got {head_channels}")
        channels = sum(backbone.channels)
        width = head_channels or max(channels // 4, 1)
        self.bottleneck = nn.ModuleDict({t: ConvBNReLU(channels, width, 3) for t in tasks})
        self.final_logits = nn.ModuleDict(
            {t: nn.Conv2d(width, task.channels, 1) for t, task in tasks.items()}
        )
        initialise_logits(self)

    def decode(self, features: list[Tensor], size: tuple[int, int]) -> Outputs:
        """Features (B, C_i, h_i, w_i) -> predictions (B, K_t, *size)."""
        x = concat_features(features)  # (B, C, h, w)
        return Outputs({t: resize(self.final_logits[t](self.bottleneck[t](x)), size) for t in self.tasks})
