"""The training transform of MTI-Net, MTLoRA and DiTASK: flip, rotation and zoom, stretched to the crop size.

As published: image and normals cubic, the rest nearest; depth divided by the zoom, normals turned with the
picture and made unit vectors again. A rotation, or a zoom below 1, leaves a border where the image is black,
class maps are 0 (semseg "background", which counts), depth and normals invalid. One departure: the published
cast of the image to 8 bits wraps around where the cubic overshoots; here such values are clipped.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from numba import njit
from torch import Tensor
from torchvision import tv_tensors

from mtlbench.data import Sample, Transform
from mtlbench.labels import Normals, unit_normals

from . import chance
from .affine import Affine, turn_vectors
from .geometry import LABELS, flip, zoom_values

Draw = Callable[[], tuple[float, float]]
"""An angle in degrees, counter-clockwise, and a zoom."""


def indoor() -> tuple[float, float]:
    """The draw for NYUD-v2: no rotation, a zoom of 1, 1.2 or 1.5."""
    return 0.0, (1.0, 1.2, 1.5)[chance.integer(0, 2)]


def outdoor() -> tuple[float, float]:
    """The draw for PASCAL-Context: U(-20, 20) degrees, a zoom of U(0.75, 1.25)."""
    return chance.uniform(-20, 20), chance.uniform(0.75, 1.25)


def mti_with(draw: Draw) -> Callable[[tuple[int, int]], Transform]:
    """The transform with one data set's rotations and zooms."""

    def make(size: tuple[int, int]) -> Transform:
        def transform(sample: Sample) -> Sample:
            changed = flip(sample) if chance.coin() else sample
            angle, zoom = draw()
            return _settle(warp(changed, Affine(angle=angle, scale=zoom, size=size)))

        return transform

    return make


mti = mti_with(indoor)


def warp(sample: Sample, affine: Affine) -> Sample:
    """Image and labels through one rotation, zoom and resize."""
    result = dict(sample)
    for name, value in sample.items():
        if not isinstance(value, tv_tensors.TVTensor):
            continue
        plain = value.as_subclass(Tensor)
        if isinstance(value, Normals):
            moved = _turned(unit_normals(plain), affine)
        elif isinstance(value, LABELS):
            planes = plain.reshape(-1, *plain.shape[-2:]).numpy()
            moved = torch.from_numpy(affine.nearest(planes)).reshape(*plain.shape[:-2], *affine.size)
            moved = zoom_values(moved, type(value), affine.scale)
        else:
            moved = torch.from_numpy(_clipped(affine.cubic(plain.numpy())))
        result[name] = tv_tensors.wrap(moved, like=value)
    return result


def _settle(sample: Sample) -> Sample:
    from .transforms import ignore_absent_people  # which names this transform

    return ignore_absent_people(sample)


def _turned(normals: Tensor, affine: Affine) -> Tensor:
    """Normals (3, h, w) float32 -> (3, H, W), x and y turned with the picture (y down, as published)."""
    vectors = affine.cubic(normals.numpy())
    radians = math.radians(affine.angle)
    turn_vectors(vectors, math.cos(radians), math.sin(radians))
    return torch.from_numpy(vectors)


@njit(cache=True, nogil=True)
def _clipped(values: np.ndarray) -> np.ndarray:
    """float32 -> uint8, truncated; a thousandth more keeps whole numbers from rounding errors."""
    result = np.empty(values.shape, np.uint8)
    flat, target = values.ravel(), result.ravel()
    for k in range(flat.size):
        target[k] = np.uint8(min(max(flat[k] + np.float32(1e-3), np.float32(0)), np.float32(255)))
    return result
