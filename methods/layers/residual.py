"""Residual blocks of heads, which keep the size: torchvision's, with a 1x1 shortcut where widths differ."""

from torch import nn
from torchvision.models import resnet

from .batch_norm import BatchNorm2d


def basic_block(channels_in: int, channels_out: int) -> resnet.BasicBlock:
    """Two 3x3 convolutions: (B, C_in, H, W) -> (B, C_out, H, W)."""
    return resnet.BasicBlock(
        channels_in, channels_out, downsample=_shortcut(channels_in, channels_out), norm_layer=BatchNorm2d
    )


def bottleneck(channels_in: int, channels_out: int) -> resnet.Bottleneck:
    """1x1, 3x3 and 1x1 convolutions, a quarter as wide inside: (B, C_in, H, W) -> (B, C_out, H, W)."""
    return resnet.Bottleneck(
        channels_in,
        channels_out // resnet.Bottleneck.expansion,
        downsample=_shortcut(channels_in, channels_out),
        norm_layer=BatchNorm2d,
    )


def _shortcut(channels_in: int, channels_out: int) -> nn.Sequential | None:
    if channels_in == channels_out:
        return None
    return nn.Sequential(nn.Conv2d(channels_in, channels_out, 1, bias=False), BatchNorm2d(channels_out))
