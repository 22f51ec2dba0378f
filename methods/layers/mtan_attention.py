"""The attention of MTAN (Liu, Johns, Davison, "End-to-End Multi-Task Learning with Attention", CVPR 2019)."""

from torch import nn

from .batch_norm import BatchNorm2d


def attention(channels_in: int, hidden: int, channels: int) -> nn.Sequential:
    """A mask in (0, 1) for each channel and position: (B, C_in, H, W) -> (B, C, H, W).

    Pointwise convolution with bias and batch norm twice, ReLU between, sigmoid at the end.
    """
    return nn.Sequential(
        nn.Conv2d(channels_in, hidden, 1),
        BatchNorm2d(hidden),
        nn.ReLU(inplace=True),
        nn.Conv2d(hidden, channels, 1),
        BatchNorm2d(channels),
        nn.Sigmoid(),
    )
