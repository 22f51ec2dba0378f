"""From four feature maps to one, and from one map to image size."""

import torch
from torch import Tensor
from torch.nn import functional as F


def resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, C, h, w) -> (B, C, *size), bilinear, corners not aligned."""
    if x.shape[-2:] == size:
        return x
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)


def concat_features(features: list[Tensor]) -> Tensor:
    """Maps (B, C_i, h_i, w_i) -> (B, sum of C_i, h_0, w_0): all at the size of the first, the finest."""
    height, width = features[0].shape[-2:]
    return torch.cat([resize(x, (height, width)) for x in features], dim=1)
