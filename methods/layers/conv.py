"""Convolutions that every head is made of."""

from torch import Tensor, nn
from torch.nn import functional as F


class ConvBNReLU(nn.Module):
    """Convolution without bias that keeps the size, batch norm, ReLU."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, kernel, padding=(kernel - 1) // 2, bias=False)
        self.bn = nn.BatchNorm2d(channels_out)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, H, W) -> (B, C_out, H, W)."""
        return F.relu(self.bn(self.conv(x)))


def initialise_logits(head: nn.Module) -> None:
    """Logits start small, weights N(0, 0.01) and bias 0; all else keeps torch's initial values."""
    for name, module in head.named_modules():
        if "logits" in name and isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.normal_(module.weight, std=0.01)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
