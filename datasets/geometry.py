"""Geometric operations on labels, registered with `torchvision.transforms.v2.functional`.

An operation without a kernel for a type would pass its tensors through unchanged and unwarned. Registered
here, for each of `ClassMap`, `Depth`, `Disparity` and `Normals`: `horizontal_flip`, `resize`, `crop`, `pad`.
Labels are resized with OpenCV's nearest rule, source = floor(target * old / new); what lies outside gets the
type's "no label" value.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numba import njit
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode
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


def resize_nearest(label: Tensor, size: tuple[int, int], window: Window | None = None) -> Tensor:
    """Nearest resize (..., H, W) to `size`, or only the `window` of the result; values unchanged."""
    top, left, height, width = window or (0, 0, *size)
    rows = np.arange(top, top + height) * label.shape[-2] // size[0]
    columns = np.arange(left, left + width) * label.shape[-1] // size[1]
    planes = label.contiguous().reshape(-1, *label.shape[-2:]).numpy()
    gathered = torch.from_numpy(_gather(planes, rows, columns))
    return gathered.reshape(*label.shape[:-2], height, width)


@njit(cache=True, nogil=True)
def _gather(planes: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """planes[:, rows][:, :, columns] in one pass."""
    result = np.empty((planes.shape[0], rows.size, columns.size), planes.dtype)
    for c in range(planes.shape[0]):
        for i in range(rows.size):
            row = planes[c, rows[i]]
            for j in range(columns.size):
                result[c, i, j] = row[columns[j]]
    return result


def resize_image(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear resize of (3, H, W) uint8 without antialiasing, source = (target + 0.5) * old / new - 0.5."""
    return F.resize(image, list(size), interpolation=InterpolationMode.BILINEAR, antialias=False)


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
    """What a zoom does to values: things come closer, so depth shrinks and disparity grows."""
    if kind is Depth:
        return label / zoom
    return label * zoom if kind is Disparity else label


def _resize_of(kind: type[tv_tensors.TVTensor]) -> Any:
    def kernel(label: Tensor, size: list[int] | None, **_: Any) -> Tensor:
        resized = _resize(label, size)
        return zoom_values(resized, kind, resized.shape[-1] / label.shape[-1])

    return kernel


def _flip(label: Tensor) -> Tensor:
    return label.flip(-1)


def _flip_normals(normals: Tensor) -> Tensor:
    flipped = normals.flip(-1)
    if flipped.dtype == torch.uint8:
        return _negate_coded_x(flipped)
    flipped[..., 0, :, :].neg_()
    return flipped


def _negate_coded_x(normals: Tensor) -> Tensor:
    """The code of -x is 255 - v, exactly; (0, 0, 0) stays, and what would become it takes its direction's
    other code.
    """
    valid = (normals != 0).any(-3, keepdim=True)
    normals[..., 0:1, :, :] = torch.where(valid, 255 - normals[..., 0:1, :, :], 0)
    return normals.where((normals != 0).any(-3, keepdim=True) | ~valid, SAME_AS_ZERO)


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
