"""The deformable mixer: convolution whose channels each look somewhere else."""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mtlbench.precision import in_float32
from mtlbench.profiling import conv_macs

from .batch_norm import BatchNorm2d
from .deform_operators import OPERATORS, require

Deform = Literal["sampled", "torchvision", "mmcv"]

WINDOW = 9  # positions of a 3x3 window, row by row


class OffsetField(nn.Module):
    """Where each channel looks, from the features and the absolute position.

    `shift` predicts a (row, column) shift for the nine positions of a 3x3 window; its own coordinates
    (counted from 1) are added, and `expand` turns the nine rows and, apart from them, the nine columns into
    the offsets of all channels. So both offsets of the first half of the channels depend on rows only, those
    of the second half on columns only. All in float32: positions need more digits than half precision has.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.shift = nn.Conv2d(dim, 2 * WINDOW, 3, padding=1)
        self.expand = nn.Conv2d(2 * WINDOW, 2 * dim, 3, padding=1, groups=2)
        nn.init.zeros_(self.shift.weight)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> offsets (B, C, 2, H, W) in pixels, (dy, dx)."""
        with in_float32(x):
            offsets: Tensor = self.expand(self._coordinates(x))
        return offsets.unflatten(1, (-1, 2))

    def grid(self, x: Tensor) -> Tensor:
        """The places themselves, as `sampling_grid` has them: (B, C, 2, H, W).

        Order and scale are given to the few weights of `expand` instead of its many outputs.
        """
        bias = self.expand.bias
        assert bias is not None
        weight, bias = (p.unflatten(0, (-1, 2)).flip(1) for p in (self.expand.weight, bias))
        scale = _per_pixel(x)
        weight = (weight * scale.view(2, 1, 1, 1)).flatten(0, 1)
        with in_float32(x):
            shifts = F.conv2d(self._coordinates(x), weight, (bias * scale).flatten(), padding=1, groups=2)
        return shifts.unflatten(1, (-1, 2)) + _centres(x)

    def _coordinates(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        x = x.to(torch.promote_types(x.dtype, torch.float32))
        shifted: Tensor = self.shift(x) + window_coordinates(height, width, device=x.device)
        return shifted


def window_coordinates(height: int, width: int, *, device: torch.device) -> Tensor:
    """Rows, then columns, of the nine positions of the 3x3 window around each pixel, from 1: (18, H, W)."""
    step = torch.arange(-1, 2, device=device)
    rows = torch.arange(1, height + 1, device=device).view(-1, 1) + step.repeat_interleave(3).view(-1, 1, 1)
    columns = torch.arange(1, width + 1, device=device) + step.repeat(3).view(-1, 1, 1)
    return torch.cat([rows.expand(-1, -1, width), columns.expand(-1, height, -1)])


def sampling_grid(x: Tensor, offsets: Tensor) -> Tensor:
    """Offsets (B, C, 2, H, W) in pixels, (dy, dx) -> places (x, y), from -1 to 1 between the map's edges."""
    return torch.addcmul(_centres(x), offsets.flip(2), _per_pixel(x).view(2, 1, 1))


def sample_channels(x: Tensor, grid: Tensor) -> Tensor:
    """Read each channel at its own places, bilinearly, zero outside the map.

    A deformable convolution with kernel 1 and one offset group per channel is this and a 1x1 convolution;
    `grid_sample` is several times faster than `deform_conv2d` at that, forward and backward, and needs no
    buffer of columns.

    Args:
        x: (B, C, H, W).
        grid: (B, C, 2, H, W), of `sampling_grid`.

    Returns:
        (B, C, H, W): for the grid of offsets (dy, dx), out[b, c, i, j] = x[b, c, i + dy, j + dx].
    """
    channels = x.float().reshape(-1, 1, *x.shape[-2:])
    places = grid.float().flatten(0, 1).permute(0, 2, 3, 1)  # (B C, H, W, 2)
    return F.grid_sample(channels, places, align_corners=False).view_as(x).to(x.dtype)


def _per_pixel(x: Tensor) -> Tensor:
    """How far it is from one column, and from one row, to the next."""
    height, width = x.shape[-2:]
    return torch.tensor([2 / width, 2 / height], device=x.device)


def _centres(x: Tensor) -> Tensor:
    """Places of all pixels: (2, H, W); float32 at least, for positions need more digits than bfloat16 has."""
    height, width = x.shape[-2:]
    columns, rows = ((2 * torch.arange(n, device=x.device) + 1) / n - 1 for n in (width, height))
    return torch.stack([columns.expand(height, -1), rows.view(-1, 1).expand(-1, width)])


class DeformableConv(nn.Module):
    """1x1 convolution of channels that were each read at their own, learnt places.

    Args:
        dim: channels.
        deform: what computes it: `sampled` is `sample_channels`; `torchvision` and `mmcv` are the operators
            of these packages. All give the same.
    """

    def __init__(self, dim: int, *, deform: Deform = "sampled") -> None:
        super().__init__()
        self.offsets = OffsetField(dim)
        self.mix = nn.Conv2d(dim, dim, 1)
        self.deform = deform
        require(deform)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        if self.deform == "sampled":
            mixed: Tensor = self.mix(sample_channels(x, self.offsets.grid(x)))
            return mixed
        return OPERATORS[self.deform](x, self.offsets(x).flatten(1, 2), self.mix)

    def module_macs(self, inputs: tuple[Tensor], output: Any, counted: Mapping[str, int]) -> int:
        """See `mtlbench.profiling`: published code samples and mixes in one operator that hooks don't see."""
        pixels = inputs[0].numel() // inputs[0].shape[1]
        return conv_macs(self.offsets.shift, pixels) + conv_macs(self.offsets.expand, pixels)


class DeformableMixer(nn.Module):
    """One block: channels are mixed, then places."""

    def __init__(self, dim: int, *, deform: Deform = "sampled") -> None:
        super().__init__()
        self.pointwise = nn.Conv2d(dim, dim, 1)
        self.norm = BatchNorm2d(dim)
        self.deformable = DeformableConv(dim, deform=deform)
        self.deformable_norm = BatchNorm2d(dim)
        self.gelu = nn.GELU()

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        x = self.norm(self.gelu(self.pointwise(x)))
        return x + self.deformable_norm(self.gelu(self.deformable(x)))
