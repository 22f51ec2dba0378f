"""MTMamba++: MTMamba in which what all tasks share steers the scans of each.

Paper: Lin et al., "MTMamba++: Enhancing Multi-Task Dense Scene Understanding via Mamba-Based Decoders",
TPAMI 2025. After the released code, EnVision-Research/MTMamba. As MTMamba (`mtmamba`), but

    x   = S-CTM(x)                                           each task's scan steered by a map of all tasks
    y_t = up(logits_t(ReLU(BN(conv3x3_t(x_t)))))             at 1/4

Of the paper's two ways across tasks, S-CTM is the one that the released code has; F-CTM is that of MTMamba.
Departures from the published code: those of `mtmamba`, and that a training step of one small image normalises
by running statistics.
"""

from typing import Any

from torch import Tensor, nn

from mtlbench.backbones.base import Backbone
from mtlbench.published import Rule
from mtlbench.tasks import Tasks

from .layers.batch_norm import BatchNorm2d
from .layers.checks import check_numbers
from .layers.mamba_blocks import SharedCTM
from .layers.mamba_keys import expanding_rules, mlp_rules, ss2d_rules
from .mtmamba import MTMamba


class MTMambaPlus(MTMamba):
    """MTMamba++: selective scans decode each task from coarse to fine, steered by what all tasks share.

    Args:
        backbone: gives the features, at several strides.
        tasks: what to predict.
        head_channels: width of the last convolution.
        common: options of `MTMamba`: `states`, `expansion`, `rank`, `drop_path`, `mlp_ratio`.
    """

    paper = "Lin et al., TPAMI 2025"
    code = "after the released code, EnVision-Research/MTMamba"
    published_keys = (
        *expanding_rules(),
        *ss2d_rules(r"block_stm\.(\w+)_(\d)\.(\d)\.op\.", r"stages.\2.within.\1.\3.ss2d."),
        *mlp_rules(r"block_stm\.(\w+)_(\d)\.(\d)\.", r"stages.\2.within.\1.\3."),
        Rule(r"block_stm\.(\w+)_(\d)\.", r"stages.\2.within.\1."),
        *ss2d_rules(r"block_ctm\.(\d)\.0\.op\.(\w+)\.", r"stages.\1.across.own.\2."),
        Rule(r"block_ctm\.(\d)\.0\.norm_share\.", r"stages.\1.across.shared_norm."),
        Rule(r"block_ctm\.(\d)\.0\.conv_share\.", r"stages.\1.across.shared."),
        Rule(r"block_ctm\.(\d)\.0\.norm\.", r"stages.\1.across.norms."),
    )
    name = "mtmamba_plus"
    across = SharedCTM

    def __init__(
        self,
        backbone: Backbone,
        tasks: Tasks,
        *,
        head_channels: int = 96,
        **common: Any,
    ) -> None:
        check_numbers(self.name, head_channels=head_channels)
        self.head_channels = head_channels
        super().__init__(backbone, tasks, **common)

    def add_heads(self, dim: int) -> None:
        """What makes predictions of maps with so many channels."""
        width = self.head_channels
        self.final_expand = nn.ModuleDict(
            {
                t: nn.Sequential(nn.Conv2d(dim, width, 3, padding=1), BatchNorm2d(width), nn.ReLU())
                for t in self.tasks
            }
        )
        self.final_logits = nn.ModuleDict({t: nn.Conv2d(width, k.channels, 1) for t, k in self.tasks.items()})

    def logits(self, task: str, x: Tensor) -> Tensor:
        """(B, h, w, C) -> (B, K, h, w)."""
        found: Tensor = self.final_logits[task](self.final_expand[task](x.movedim(-1, 1)))
        return found
