"""Convolutions that every head is made of."""

from collections.abc import Sequence

from torch import Tensor, nn

from .batch_norm import BatchNorm2d
from .features import FeatureConv2d, Size


class ConvBNReLU(nn.Module):
    """Convolution without bias that keeps the size, batch norm, ReLU.

    Of several feature maps it takes the concatenation at one size.
    """

    def __init__(self, channels_in: int, channels_out: int, kernel: int) -> None:
        super().__init__()
        self.conv = FeatureConv2d(channels_in, channels_out, kernel, padding=(kernel - 1) // 2, bias=False)
        self.bn = BatchNorm2d(channels_out)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor | Sequence[Tensor], size: Size | None = None) -> Tensor:
        """(B, C_in, H, W), or maps with as many channels together -> (B, C_out, H, W).

        Args:
            x: one map or several.
            size: (H, W) to which they are resized; None: that of the first.
        """
        activated: Tensor = self.relu(self.bn(self.conv(x, size)))
        return activated


def initialise_logits(head: nn.Module) -> None:
    """Logits start small, weights N(0, 0.01) and bias 0; all else keeps torch's initial values."""
    for name, module in head.named_modules():
        if "logits" in name and isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.normal_(module.weight, std=0.01)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
