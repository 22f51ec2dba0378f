"""Deformable 1x1 convolution by other packages' operators, in float32."""

from collections.abc import Callable
from importlib import import_module

import torch
from torch import Tensor, nn
from torchvision.ops import deform_conv2d

from mtlbench.errors import MtlbenchError


def by_torchvision(x: Tensor, offsets: Tensor, mix: nn.Conv2d) -> Tensor:
    """(B, C, H, W) and offsets (B, 2 C, H, W), (dy, dx) of each channel -> (B, D, H, W)."""
    with torch.autocast(x.device.type, enabled=False):
        found: Tensor = deform_conv2d(x.float(), offsets.float(), mix.weight, mix.bias)
    return found.to(x.dtype)


def by_mmcv(x: Tensor, offsets: Tensor, mix: nn.Conv2d) -> Tensor:
    """(B, C, H, W) and offsets (B, 2 C, H, W), (dy, dx) of each channel -> (B, D, H, W)."""
    operator = import_module("mmcv.ops").deform_conv2d
    batch, groups = x.shape[0], x.shape[1]
    assert mix.bias is not None
    with torch.autocast(x.device.type, enabled=False):
        settings = (1, 0, 1, 1, groups, False, batch)  # stride, padding, dilation, groups ..., bias, step
        found: Tensor = operator(x.float().contiguous(), offsets.float().contiguous(), mix.weight, *settings)
        found = found + mix.bias.view(-1, 1, 1)
    return found.to(x.dtype)


OPERATORS: dict[str, Callable[[Tensor, Tensor, nn.Conv2d], Tensor]] = {
    "torchvision": by_torchvision,
    "mmcv": by_mmcv,
}


def require(deform: str) -> None:
    """Raise MtlbenchError if what `deform` names can't be had here."""
    if deform != "mmcv":
        return
    try:
        import_module("mmcv.ops")
    except ImportError as error:
        raise MtlbenchError(
            f"`deform: mmcv` needs the package mmcv with compiled operators, which is not installed "
            f"({error}); `deform: sampled` needs nothing and gives the same"
        ) from error
