"""Maps at another size."""

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F


def resize(x: Tensor, size: Sequence[int]) -> Tensor:
    """(B, C, h, w) -> (B, C, *size), bilinear, corners not aligned."""
    if x.shape[-2:] == tuple(size):
        return x
    return F.interpolate(x, size=tuple(size), mode="bilinear", align_corners=False)
