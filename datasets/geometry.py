"""Geometric operations on labels, registered with `torchvision.transforms.v2.functional`.

An operation without a kernel for a type would pass its tensors through unchanged and unwarned. Registered
here, for each of `ClassMap`, `Depth`, `Disparity` and `Normals`: `horizontal_flip`, `resize`, `crop`, `pad`.
Labels are resized with OpenCV's nearest rule (`nearest`); what lies outside gets the type's "no label" value.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numba import njit
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional as F

from mtlbench.data import Sample
from mtlbench.labels import ClassMap, Depth, Disparity, Normals

LABELS = (ClassMap, Depth, Disparity, Normals)
FILL: dict[type, float] = {ClassMap: 255, Depth: 0.0, Disparity: 0.0, Normals: 0.0}
IMAGE_FILL = (124.0, 116.0, 104.0)
"""The ImageNet mean, which normalises to about 0."""
SAME_AS_ZERO = 127
"""Coded normals: (127, 127, 127) decodes to the same direction as (0, 0, 0), which is kept for "no label"."""
Window = tuple[int, int, int, int]
"""Top, left, height, width."""


def resize_nearest(label: Tensor, size: tuple[int, int]) -> Tensor:
    """Nearest resize (..., H, W) to `size`; values unchanged."""
    rows = torch.from_numpy(nearest(0, size[0], size[0], label.shape[-2]).astype(np.int64))
    columns = torch.from_numpy(nearest(0, size[1], size[1], label.shape[-1]).astype(np.int64))
    return label[..., rows[:, None], columns]


def nearest(start: int, count: int, new: int, old: int) -> np.ndarray:
    """Where `count` pixels from `start` on, of `new` in all, come from among `old`; uint32.

    floor(target * old / new) as OpenCV computes it in floating point, which falls short of whole numbers now
    and then.
    """
    source = np.floor(np.arange(start, start + count) * (1 / (new / old)))
    return np.minimum(source, old - 1).astype(np.uint32)


def flip(sample: Sample) -> Sample:
    """Mirror image and labels left to right."""
    return {k: F.horizontal_flip(v) if isinstance(v, tv_tensors.TVTensor) else v for k, v in sample.items()}


def pad(sample: Sample, size: tuple[int, int]) -> Sample:
    """Pad image and labels to at least `size`, centred, floor(difference / 2) before; larger sides stay."""
    height, width = sample["image"].shape[-2:]
    down, right = max(size[0] - height, 0), max(size[1] - width, 0)
    if down == 0 and right == 0:
        return sample
    padding = [right // 2, down // 2, right - right // 2, down - down // 2]
    padded = dict(sample)
    for name, value in sample.items():
        if isinstance(value, tv_tensors.Image):
            padded[name] = F.pad(value, padding, fill=list(IMAGE_FILL))
        elif isinstance(value, LABELS):
            padded[name] = F.pad(value, padding)
    return padded


def _resize(label: Tensor, size: list[int] | None, **_: Any) -> Tensor:
    assert size is not None, "labels are resized to an explicit size"
    assert len(size) == 2, "labels are resized to an explicit height and width"
    return resize_nearest(label, (size[0], size[1]))


def zoom_values(label: Tensor, kind: type[tv_tensors.TVTensor], zoom: float) -> Tensor:
    """What a zoom does to values, in place: things come closer, so depth shrinks and disparity grows."""
    if kind is Depth:
        return label.div_(zoom)
    return label.mul_(zoom) if kind is Disparity else label


def _resize_of(kind: type[tv_tensors.TVTensor]) -> Any:
    def kernel(label: Tensor, size: list[int] | None, **_: Any) -> Tensor:
        resized = _resize(label, size)
        return zoom_values(resized, kind, resized.shape[-1] / label.shape[-1])

    return kernel


def _flip(label: Tensor) -> Tensor:
    return label.flip(-1)


def _flip_normals(normals: Tensor) -> Tensor:
    flipped = normals.flip(-1)
    negate_x(flipped.numpy())
    return flipped


def negate_x(normals: np.ndarray) -> None:
    """Mirror the vectors (3, H, W), plain or coded, in place."""
    if normals.dtype == np.uint8:
        _negate_coded_x(normals)
    else:
        np.negative(normals[0], out=normals[0])


@njit(cache=True, nogil=True)
def _negate_coded_x(normals: np.ndarray) -> None:
    """The code of -x is 255 - v, exactly. (0, 0, 0), "no label", stays; what would become it takes the other
    code of its direction.
    """
    for i in range(normals.shape[1]):
        for j in range(normals.shape[2]):
            rest = normals[1, i, j] | normals[2, i, j]
            if normals[0, i, j] | rest:
                normals[0, i, j] = 255 - normals[0, i, j]
                if not (normals[0, i, j] | rest):
                    normals[:, i, j] = SAME_AS_ZERO


def _pad_with(default: float) -> Any:
    def kernel(label: Tensor, padding: list[int], fill: Any = None, padding_mode: str = "constant") -> Tensor:
        left, top, right, bottom = _four(padding)
        value = default if fill is None or isinstance(fill, dict) else fill
        if padding_mode != "constant":
            raise ValueError(f"labels are padded with a constant, got `padding_mode` {padding_mode!r}")
        return torch.nn.functional.pad(label, [left, right, top, bottom], value=float(value))

    return kernel


def _four(padding: int | list[int]) -> tuple[int, int, int, int]:
    """Left, top, right, bottom, from torchvision's short forms."""
    if isinstance(padding, int):
        return padding, padding, padding, padding
    left, top = padding[0], padding[1 % len(padding)]
    return (left, top, padding[2], padding[3]) if len(padding) == 4 else (left, top, left, top)


def _crop_with(default: float) -> Any:
    pad_outside = _pad_with(default)

    def kernel(label: Tensor, top: int, left: int, height: int, width: int) -> Tensor:
        bottom, right = top + height, left + width
        inside = label[..., max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
        outside = [
            max(-left, 0),
            max(-top, 0),
            max(right - label.shape[-1], 0),
            max(bottom - label.shape[-2], 0),
        ]
        return pad_outside(inside, outside) if any(outside) else inside

    return kernel


def _register() -> None:
    for kind in LABELS:
        _add(F.horizontal_flip, kind, _flip_normals if kind is Normals else _flip)
        _add(F.resize, kind, _resize_of(kind))
        _add(F.pad, kind, _pad_with(FILL[kind]))
        _add(F.crop, kind, _crop_with(FILL[kind]))


def _add(
    operation: Callable[..., Any], kind: type[tv_tensors.TVTensor], kernel: Callable[..., Tensor]
) -> None:
    """Register a kernel on plain tensors, whose result is wrapped as its argument was."""

    def wrapped(label: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return tv_tensors.wrap(kernel(label.as_subclass(Tensor), *args, **kwargs), like=label)

    F.register_kernel(operation, kind)(wrapped)


_register()
