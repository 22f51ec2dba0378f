"""The DeepLab head."""

from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.segmentation import deeplabv3

from .batch_norm import BatchNorm2d

WORTH = 0.8
"""Share of a kernel's work that meets the map, up to which its positions are taken one by one."""


class DeepLabHead(deeplabv3.DeepLabHead):
    """torchvision's: ASPP with rates 12, 24 and 36 and 256 channels, 3x3 convolution, logits.

    Its image-level branch pools a map to one pixel. With one image in training, batch norm there (and
    wherever else a channel has one value) uses the running statistics; torchvision's raises.
    """

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__(channels, outputs)
        _replace_layers(self)


class DilatedConv2d(nn.Conv2d):
    """3x3 convolution that keeps the size and, on a CPU, leaves out products with the padding.

    On a map of 27x35 a kernel of rate 36 meets nothing but its centre, one of rate 24 a quarter of the map.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, D, H, W)."""
        shifts = [[-rate, 0, rate] for rate in self.dilation]
        met = [
            sum(max(n - abs(s), 0) for s in along) / n for n, along in zip(x.shape[2:], shifts, strict=True)
        ]
        if x.device.type != "cpu" or met[0] * met[1] > WORTH * self.weight[0, 0].numel():
            return super().forward(x)
        total = F.conv2d(x, self.weight[:, :, 1:2, 1:2], self.bias)
        for i, down in enumerate(shifts[0]):
            for j, right in enumerate(shifts[1]):
                if (i, j) != (1, 1) and abs(down) < x.shape[2] and abs(right) < x.shape[3]:
                    part = F.conv2d(_shifted(x, down, right), self.weight[:, :, i : i + 1, j : j + 1])
                    total = total + F.pad(part, (max(-right, 0), max(right, 0), max(-down, 0), max(down, 0)))
        return total


def _shifted(x: Tensor, down: int, right: int) -> Tensor:
    """What is so far down and on the right of some position in the map."""
    height, width = (n - abs(s) for n, s in zip(x.shape[2:], (down, right), strict=True))
    return x.narrow(2, max(down, 0), height).narrow(3, max(right, 0), width)


def _replace_layers(module: nn.Module) -> None:
    """Batch norm, at its initial values, by one that takes a single value a channel; dilated convolutions."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, BatchNorm2d(child.num_features, eps=child.eps, momentum=child.momentum))
        elif isinstance(child, nn.Conv2d) and max(child.dilation) > 1:
            setattr(module, name, _dilated(child))
        else:
            _replace_layers(child)


def _dilated(layer: nn.Conv2d) -> DilatedConv2d:
    """The same layer with the same weight; without drawing another."""
    widths, rate = (layer.in_channels, layer.out_channels), layer.dilation[0]
    bias = layer.bias is not None
    new = DilatedConv2d(*widths, 3, padding=rate, dilation=rate, bias=bias, device="meta")
    new.weight, new.bias = layer.weight, layer.bias
    return new
