"""The head of MTLoRA's networks, "hrnet" in its code: each map narrowed for the task, then HRNet's head.

y = logits(ReLU(BN(conv1x1([D_1 F_1; up(D_2 F_2); up(D_3 F_3); up(D_4 F_4)]))))     four times as wide
"""

from collections.abc import Sequence

from torch import Tensor, nn

from .batch_norm import BatchNorm2d
from .features import FeatureConv2d

WIDTHS = (18, 36, 72, 144)
WIDENING = 4


class MTLoRAHead(nn.Module):
    """Pointwise convolutions without bias D_i, a fuse layer and logits.

    Args:
        channels: of the maps.
        outputs: K, channels of the logits.
        widths: of the maps once narrowed.
    """

    def __init__(self, channels: Sequence[int], outputs: int, *, widths: Sequence[int] = WIDTHS) -> None:
        super().__init__()
        pairs = zip(channels, widths, strict=True)
        self.downsample = nn.ModuleList(nn.Conv2d(c, width, 1, bias=False) for c, width in pairs)
        narrow, wide = sum(widths), WIDENING * sum(widths)
        fuse = (FeatureConv2d(narrow, wide, 1), BatchNorm2d(wide), nn.ReLU())
        self.last_layer = nn.Sequential(*fuse, nn.Conv2d(wide, outputs, 1))

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Maps (B, C_i, h_i, w_i), the finest first -> logits (B, K, h_0, w_0)."""
        narrowed = [conv(x) for conv, x in zip(self.downsample, features, strict=True)]
        logits: Tensor = self.last_layer(narrowed)
        return logits
