"""From four feature maps to one, and from one map to image size."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mtlbench.resizing import resize

Size = tuple[int, int]


def concat_features(features: Sequence[Tensor]) -> Tensor:
    """Maps (B, C_i, h_i, w_i) -> (B, sum of C_i, h_0, w_0): all at the size of the first, the finest."""
    height, width = features[0].shape[-2:]
    return torch.cat([resize(x, (height, width)) for x in features], dim=1)


class FeatureConv2d(nn.Conv2d):
    """Convolution of feature maps that are all resized to one size and concatenated, without making that map.

    Resizing acts on each channel by itself and the kernel's mixing of channels on each position by itself, so
    they commute: a coarse map's channels are mixed at its own size, for each position in the kernel, and what
    comes out is resized to where the kernel meets it. With few channels out and many in, that is a small part
    of the work and of the memory; the result is the same but for rounding.
    """

    def forward(self, x: Tensor | Sequence[Tensor], size: Size | None = None, extra: Size = (0, 0)) -> Tensor:
        """Maps (B, C_i, h_i, w_i) -> (B, D, H, W).

        Args:
            x: one map, or several whose channels together are those of the kernel.
            size: to which they are resized; None: that of the first.
            extra: rows below and columns on the right of zeros, beside the padding.
        """
        levels = [x] if isinstance(x, Tensor) else list(x)
        height, width = size or levels[0].shape[-2:]
        total = None
        for level, weight in zip(levels, self.weight.split([v.shape[1] for v in levels], dim=1), strict=True):
            bias = self.bias if total is None else None
            part = self._convolve(level, weight, bias, (height, width), extra)
            total = part if total is None else total + part
        assert total is not None
        return total

    def _convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None, size: Size, extra: Size) -> Tensor:
        stride, padding = self.stride[0], int(self.padding[0])
        taps = [
            kernel_taps(n, to, weight.shape[-1], stride, padding, after, like=x)
            for n, to, after in zip(x.shape[-2:], size, extra, strict=True)
        ]
        if x.shape[-2:] == size or x.shape[-2] * x.shape[-1] > len(taps[0]) * len(taps[1]):
            x = F.pad(resize(x, size), (0, extra[1], 0, extra[0])) if any(extra) else resize(x, size)
            return F.conv2d(x, weight, bias, stride, padding)
        y = convolve_resized(x, weight, *taps)
        return y if bias is None else y + bias.view(-1, 1, 1)


class SummedFeatureConv2d(FeatureConv2d):
    """Convolution of feature maps that are all resized to one size and added, without making that map."""

    def forward(self, x: Tensor | Sequence[Tensor], size: Size | None = None, extra: Size = (0, 0)) -> Tensor:
        """Maps (B, C, h_i, w_i) -> (B, D, H, W); arguments as in `FeatureConv2d`."""
        levels = [x] if isinstance(x, Tensor) else list(x)
        height, width = size or levels[0].shape[-2:]
        total = self._convolve(levels[0], self.weight, self.bias, (height, width), extra)
        for level in levels[1:]:
            total = total + self._convolve(level, self.weight, None, (height, width), extra)
        return total


def kernel_taps(
    n: int, size: int, kernel: int, stride: int, padding: int, extra: int, *, like: Tensor
) -> Tensor:
    """What a kernel meets along one axis that was resized from `n` to `size`: (outputs, kernel, n).

    Entry [y, i, a] is the share of the original value a in what tap i of output y meets; 0 in the padding.
    """
    identity = torch.eye(n, device=like.device)
    shares = F.interpolate(identity[None], size=size, mode="linear", align_corners=False)[0].T  # (size, n)
    return F.pad(shares, (0, 0, padding, padding + extra)).unfold(0, kernel, stride).mT.to(like.dtype)


def convolve_resized(x: Tensor, weight: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Convolution of a resized map, from the map itself.

    Args:
        x: (B, C, h, w).
        weight: (D, C, k, k).
        rows: (H, k, h), of `kernel_taps`.
        columns: (W, k, w).

    Returns:
        (B, D, H, W).
    """
    dim, k = weight.shape[0], weight.shape[-1]
    mixed = F.conv2d(x, weight.permute(0, 2, 3, 1).reshape(-1, x.shape[1], 1, 1))  # (B, D k k, h, w)
    mixed = mixed.unflatten(1, (dim, k, k)).transpose(3, 4).flatten(4).flatten(2, 3)  # (B, D, k h, k w)
    return rows.flatten(1) @ (mixed @ columns.flatten(1).T)
