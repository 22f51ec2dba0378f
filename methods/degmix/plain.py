"""Tokens of a plain vision transformer's maps, which are all equally coarse."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..layers.conv import ConvBNReLU

FINEST = 4
"""Stride of the tokens."""


class PlainEmbed(nn.Module):
    """Every map becomes narrow, all together become fine: one token per 4x4 pixels of the image.

        X = C_2(C_1([up(B_1(A_1(F_1))); ...; up(B_4(A_4(F_4)))]))

    with 3x3 convolutions, batch norm and ReLU throughout.

    Args:
        channels: width of each map.
        dim: width of the tokens; half of it is each map's.
        stride: of all maps.
    """

    def __init__(self, channels: Sequence[int], dim: int, stride: int) -> None:
        super().__init__()
        self.factor = max(stride // FINEST, 1)
        narrow = max(dim // 2, 1)
        self.levels = nn.ModuleList(
            nn.Sequential(ConvBNReLU(c, narrow, 3), ConvBNReLU(narrow, narrow, 3)) for c in channels
        )
        self.merge = ConvBNReLU(len(channels) * narrow, dim, 3)
        self.refine = ConvBNReLU(dim, dim, 3)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Maps (B, C_i, h, w) -> (B, D, 4 h, 4 w) for a stride of 16."""
        height, width = features[0].shape[-2:]
        narrow = [level(x) for level, x in zip(self.levels, features, strict=True)]  # (B, D / 2, h, w)
        merged = self.merge(torch.cat(narrow, dim=1), size=(self.factor * height, self.factor * width))
        refined: Tensor = self.refine(merged)
        return refined
