"""Zoom, crop, mirror and padding in one pass: each pixel of the result is fetched once, where it comes from.

Labels follow OpenCV's nearest rule, see `geometry.nearest`; images are bilinear with its pixel
centres, source = (target + 0.5) * old / new - 0.5, in float32, and truncated to 8 bits, as the published
transforms of the ATRC family have it. Nothing outside the window is computed.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numba import njit
from torch import Tensor
from torchvision import tv_tensors

from mtlbench.data import Sample
from mtlbench.labels import Normals

from .geometry import FILL, IMAGE_FILL, LABELS, Window, nearest, negate_x, zoom_values


@dataclass(frozen=True, kw_only=True)
class Warp:
    """One draw of zoom, crop and flip.

    Attributes:
        zoom: depth is divided by it.
        scaled: (H, W) of the whole map after the zoom.
        window: what is kept of the scaled map.
        mirrored: left to right, after the crop.
        size: (H, W) of the result; the window is padded to it, centred, floor(difference / 2) before.
    """

    zoom: float
    scaled: tuple[int, int]
    window: Window
    mirrored: bool
    size: tuple[int, int]

    def __call__(self, sample: Sample, table: np.ndarray | None = None) -> Sample:
        """Image and labels of a sample; `table` (256,) uint8 maps the image's values afterwards."""
        result = dict(sample)
        for name, value in sample.items():
            if isinstance(value, tv_tensors.Image):
                result[name] = tv_tensors.wrap(self.image(value.as_subclass(Tensor), table), like=value)
            elif isinstance(value, LABELS):
                result[name] = tv_tensors.wrap(self.label(value), like=value)
        return result

    @property
    def place(self) -> tuple[slice, slice]:
        """Rows and columns of the result that the window fills."""
        height, width = self.window[2:]
        top, left = max(self.size[0] - height, 0) // 2, max(self.size[1] - width, 0) // 2
        return slice(top, top + height), slice(left, left + width)

    def image(self, image: Tensor, table: np.ndarray | None = None) -> Tensor:
        """(3, h, w) uint8 -> (3, H, W) uint8, the ImageNet mean around the window."""
        pixels = image.numpy()
        result = np.empty((3, *self._target()), np.uint8)
        if result.shape[1:] != self.window[2:]:
            result[:] = np.asarray(IMAGE_FILL, np.uint8)[:, None, None]
        rows = _linear(self.window[0], self.window[2], self.scaled[0], pixels.shape[1])
        columns = _linear(self.window[1], self.window[3], self.scaled[1], pixels.shape[2])
        if self.mirrored:
            columns = columns[0][::-1].copy(), columns[1][::-1].copy()
        place = result[(slice(None), *self.place)]
        _bilinear(pixels, *rows, *columns, _IDENTITY if table is None else table, place)
        return torch.from_numpy(result)

    def label(self, label: tv_tensors.TVTensor) -> Tensor:
        """(..., h, w) -> (..., H, W), "no label" around the window."""
        planes = label.as_subclass(Tensor).contiguous()
        flat = planes.reshape(-1, *planes.shape[-2:]).numpy()
        rows, columns = self._nearest(flat.shape[1], flat.shape[2])
        result = np.empty((len(flat), *self._target()), flat.dtype)
        if result.shape[1:] != self.window[2:]:
            result[:] = FILL[type(label)]
        place = result[(slice(None), *self.place)]
        _gather(flat, rows, columns, place)
        if self.mirrored and isinstance(label, Normals):
            negate_x(place)
        moved = torch.from_numpy(result).reshape(*planes.shape[:-2], *result.shape[1:])
        return zoom_values(moved, type(label), self.zoom)

    @lru_cache(maxsize=1)  # noqa: B019 (of one sample: all labels of an image have one size)
    def _nearest(self, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        """The row and the column of a label that each row and column of the window comes from."""
        rows = nearest(self.window[0], self.window[2], self.scaled[0], height)
        columns = nearest(self.window[1], self.window[3], self.scaled[1], width)
        return rows, np.ascontiguousarray(columns[::-1]) if self.mirrored else columns

    def _target(self) -> tuple[int, int]:
        return max(self.size[0], self.window[2]), max(self.size[1], self.window[3])


_IDENTITY = np.arange(256, dtype=np.uint8)


def _linear(start: int, count: int, new: int, old: int) -> tuple[np.ndarray, np.ndarray]:
    """Which pixel each of them follows, uint32, and the weight of the one after that, float32."""
    exact = (np.arange(start, start + count) + 0.5) * (old / new) - 0.5
    first = np.floor(exact)
    inside = (first >= 0) & (first < old - 1)
    return first.clip(0, old - 1).astype(np.uint32), np.where(inside, exact - first, 0).astype(np.float32)


# Indices are unsigned, so that the compiler need not look for negative ones: that keeps loops in registers.


@njit(cache=True, nogil=True)
def _gather(planes: np.ndarray, rows: np.ndarray, columns: np.ndarray, result: np.ndarray) -> None:
    """Result = planes[:, rows][:, :, columns], in one pass."""
    for c in range(planes.shape[0]):
        for i in range(rows.size):
            row, target = planes[c, rows[i]], result[c, i]
            for j in range(columns.size):
                target[j] = row[columns[j]]


@njit(cache=True, nogil=True, error_model="numpy")
def _bilinear(
    planes: np.ndarray,
    rows: np.ndarray,
    row_weights: np.ndarray,
    columns: np.ndarray,
    column_weights: np.ndarray,
    table: np.ndarray,
    result: np.ndarray,
) -> None:
    """Two rows are blended for all the columns that are needed, then columns are picked and blended."""
    low, high = np.int64(columns.min()), np.int64(columns.max())
    last = np.uint32(planes.shape[1] - 1)
    line = np.zeros(high - low + 2, np.float32)  # one more: the last column is followed with weight 0
    near = (columns - np.uint32(low)).astype(np.uint32)
    stop = min(high + 2, planes.shape[2])
    for c in range(planes.shape[0]):
        for i in range(rows.size):
            above = planes[c, rows[i], low:stop]
            below, share = planes[c, min(rows[i] + np.uint32(1), last), low:stop], row_weights[i]
            for j in range(above.size):
                value = np.float32(above[j])
                line[j] = value + (np.float32(below[j]) - value) * share
            target = result[c, i]
            for j in range(near.size):
                left = line[near[j]]
                target[j] = table[np.uint8(left + (line[near[j] + np.uint32(1)] - left) * column_weights[j])]
