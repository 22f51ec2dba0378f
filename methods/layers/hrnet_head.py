"""What HRNet's authors put on its four maps, concatenated at the finest one's size."""

from collections.abc import Sequence

from torch import Tensor, nn

from .batch_norm import BatchNorm2d
from .features import FeatureConv2d


def fuse_layer(channels: int) -> nn.Sequential:
    """Pointwise convolution with bias, batch norm, ReLU: maps of so many channels -> (B, C, h_0, w_0)."""
    return nn.Sequential(FeatureConv2d(channels, channels, 1), BatchNorm2d(channels), nn.ReLU())


class HRNetHead(nn.Module):
    """A fuse layer and logits.

    Args:
        channels: of all maps together.
        outputs: K, channels of the logits.
    """

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__()
        self.last_layer = nn.Sequential(*fuse_layer(channels), nn.Conv2d(channels, outputs, 1))

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Maps (B, C_i, h_i, w_i), the finest first -> logits (B, K, h_0, w_0)."""
        logits: Tensor = self.last_layer(features)
        return logits
