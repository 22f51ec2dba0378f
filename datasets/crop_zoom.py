"""The training transform of MTAN, LibMTL and Nash-MTL on NYUv2: a crop stretched back, and a flip.

As published: the crop is 1, 1/1.2 or 1/1.5 of each side; image and normals bilinear with corners aligned,
class maps and depth nearest, depth divided by the zoom. Two departures: images are rounded to 8 bits, and
stretched normals are made unit vectors again, which the published code does not do.
"""

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision import tv_tensors

from mtlbench.data import Sample, Transform
from mtlbench.labels import Normals, unit_normals

from . import chance
from .affine import turn_vectors
from .geometry import LABELS, Window, flip, zoom_values

ZOOMS = (1.0, 1.2, 1.5)


def mtan(size: tuple[int, int]) -> Transform:
    """Random crop, stretched to the sample's own size; flip in half of the cases; padded to `size`."""

    def transform(sample: Sample) -> Sample:
        from .transforms import pad_to  # which names this transform

        zoom = ZOOMS[chance.integer(0, len(ZOOMS) - 1)]
        height, width = sample["image"].shape[-2:]
        h, w = int(height / zoom), int(width / zoom)
        window = chance.integer(0, height - h), chance.integer(0, width - w), h, w
        changed = stretch(sample, window, zoom)
        return pad_to(flip(changed) if chance.coin() else changed, size)

    return transform


def stretch(sample: Sample, window: Window, zoom: float) -> Sample:
    """Cut out a window and stretch it to the size of the whole; depth is divided by `zoom`."""
    top, left, h, w = window
    height, width = sample["image"].shape[-2:]
    result = dict(sample)
    for name, value in sample.items():
        if isinstance(value, tv_tensors.TVTensor):
            part = value.as_subclass(Tensor)[..., top : top + h, left : left + w]
            stretched = _stretch(part, type(value), (height, width))
            result[name] = tv_tensors.wrap(zoom_values(stretched, type(value), zoom), like=value)
    return result


def _stretch(part: Tensor, kind: type[tv_tensors.TVTensor], size: tuple[int, int]) -> Tensor:
    """(..., h, w) -> (..., H, W) as this kind of map is."""
    if kind is Normals:
        vectors = _bilinear(unit_normals(part), size)
        turn_vectors(vectors.numpy(), 1.0, 0.0)
        return vectors
    if kind in LABELS:
        planes = part.reshape(1, -1, *part.shape[-2:])
        return F.interpolate(planes, size, mode="nearest").reshape(*part.shape[:-2], *size)
    return _bilinear(part.float(), size).round_().to(torch.uint8)


def _bilinear(part: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(part[None], size, mode="bilinear", align_corners=True)[0]
