"""The deformable mixer: convolution whose channels each look somewhere else."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WINDOW = 9  # positions of a 3x3 window, row by row


class OffsetField(nn.Module):
    """Where each channel looks, from the features and the absolute position.

    `shift` predicts a (row, column) shift for the nine positions of a 3x3 window; its own coordinates
    (counted from 1) are added, and `expand` turns the nine rows and, apart from them, the nine columns into
    the offsets of all channels. So both offsets of the first half of the channels depend on rows only, those
    of the second half on columns only.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.shift = nn.Conv2d(dim, 2 * WINDOW, 3, padding=1)
        self.expand = nn.Conv2d(2 * WINDOW, 2 * dim, 3, padding=1, groups=2)
        nn.init.zeros_(self.shift.weight)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> offsets (B, C, 2, H, W) in pixels, (dy, dx)."""
        offsets = self.expand(self.shift(x) + window_coordinates(*x.shape[-2:], device=x.device))
        return offsets.unflatten(1, (-1, 2))


def window_coordinates(height: int, width: int, *, device: torch.device) -> Tensor:
    """Rows, then columns, of the nine positions of the 3x3 window around each pixel, from 1: (18, H, W)."""
    step = torch.arange(-1, 2, device=device)
    rows = torch.arange(1, height + 1, device=device).view(-1, 1) + step.repeat_interleave(3).view(-1, 1, 1)
    columns = torch.arange(1, width + 1, device=device) + step.repeat(3).view(-1, 1, 1)
    return torch.cat([rows.expand(-1, -1, width), columns.expand(-1, height, -1)])


def sample_channels(x: Tensor, offsets: Tensor) -> Tensor:
    """Read each channel at its own places, bilinearly, zero outside the map.

    A deformable convolution with kernel 1 and one offset group per channel is this and a 1x1 convolution;
    `grid_sample` is several times faster than `deform_conv2d` at that, forward and backward, and needs no
    buffer of columns.

    Args:
        x: (B, C, H, W).
        offsets: (B, C, 2, H, W) in pixels, (dy, dx).

    Returns:
        (B, C, H, W): out[b, c, i, j] = x[b, c, i + dy, j + dx].
    """
    height, width = x.shape[-2:]
    dy, dx = offsets.float().unbind(2)  # positions need more digits than bfloat16 has
    i = torch.arange(height, device=x.device).view(-1, 1) + dy
    j = torch.arange(width, device=x.device) + dx
    # grid_sample counts from -1 to 1 between the outer edges of the map
    grid = torch.stack([(2 * j + 1) / width - 1, (2 * i + 1) / height - 1], dim=-1)  # (B, C, H, W, 2)
    sampled = F.grid_sample(x.float().reshape(-1, 1, height, width), grid.flatten(0, 1), align_corners=False)
    return sampled.view_as(x).to(x.dtype)


class DeformableConv(nn.Module):
    """1x1 convolution of channels that were each read at their own, learnt places."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.offsets = OffsetField(dim)
        self.mix = nn.Conv2d(dim, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        return self.mix(sample_channels(x, self.offsets(x)))


class DeformableMixer(nn.Module):
    """One block: channels are mixed, then places."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.pointwise = nn.Conv2d(dim, dim, 1)
        self.norm = nn.BatchNorm2d(dim)
        self.deformable = DeformableConv(dim)
        self.deformable_norm = nn.BatchNorm2d(dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        x = self.norm(F.gelu(self.pointwise(x)))
        return x + self.deformable_norm(F.gelu(self.deformable(x)))
