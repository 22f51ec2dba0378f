"""Non-maximum suppression of boundary strengths, as SEISM's reader of predictions does it.

Source: `read_one_cont_png` of SEISM with Dollar's `edgesNms`: radius 1, border 5, factor 1.01. The strength
itself is suppressed; only orientations come from its smoothed copy.
"""

import math

import numpy as np
from numba import njit

RADIUS = 4
"""Of the triangle filter, in pixels."""
BORDER = 5
"""Within so many pixels of each border the strength fades to 0."""
FACTOR = 1.01
"""A pixel may be weaker than its neighbours across the ridge by this."""


def suppress(strength: np.ndarray) -> np.ndarray:
    """Strengths (H, W) in [0, 1], any float type -> (H, W) float32, 0 where a pixel is no ridge.

    Orientation is mod(atan(Oyy sign(-Oxy) / (Oxx + 1e-5)), pi) of the smoothed strength's second derivatives;
    a pixel stays where it is at least its two neighbours in that direction, bilinearly interpolated, / 1.01.
    """
    image = np.ascontiguousarray(strength, dtype=np.float32)
    return _suppress(image, _smooth(image))


@njit(cache=True, nogil=True)
def _smooth(image: np.ndarray) -> np.ndarray:
    """Triangle filter [1 2 3 4 5 4 3 2 1] / 25 along both axes with mirrored borders, in float64."""
    height, width = image.shape
    rows = np.zeros((height, width + 2 * RADIUS), np.float64)
    smooth = np.zeros((height, width), np.float64)
    for i in range(height):
        for k in range(2 * RADIUS + 1):
            source, weight = _mirror(i + k - RADIUS, height), _weight(k)
            for j in range(width):
                rows[i, j + RADIUS] += weight * image[source, j]
        for j in range(1, RADIUS + 1):
            rows[i, RADIUS - j] = rows[i, RADIUS + _mirror(-j, width)]
            rows[i, RADIUS + width - 1 + j] = rows[i, RADIUS + _mirror(width - 1 + j, width)]
        for k in range(2 * RADIUS + 1):
            weight = _weight(k)
            for j in range(width):
                smooth[i, j] += weight * rows[i, j + k]
    return smooth


@njit(cache=True, nogil=True)
def _weight(k: int) -> float:
    return (RADIUS + 1 - abs(k - RADIUS)) / (RADIUS + 1) ** 2


@njit(cache=True, nogil=True)
def _mirror(index: int, size: int) -> int:
    """Position of an index outside [0, size) in the image continued by mirrors, ... 1 0 | 0 1 2 ..."""
    index = index % (2 * size)
    return index if index < size else 2 * size - 1 - index


@njit(cache=True, nogil=True)
def _gradient_down(image: np.ndarray) -> np.ndarray:
    """`numpy.gradient` along axis 0; 0 where that axis has length 1."""
    height, width = image.shape
    result = np.empty((height, width), np.float64)
    for i in range(height):
        above, below = max(i - 1, 0), min(i + 1, height - 1)
        step = 1.0 / max(below - above, 1)
        for j in range(width):
            result[i, j] = (image[below, j] - image[above, j]) * step
    return result


@njit(cache=True, nogil=True)
def _gradient_right(image: np.ndarray) -> np.ndarray:
    """`numpy.gradient` along axis 1; 0 where that axis has length 1."""
    height, width = image.shape
    result = np.zeros((height, width), np.float64)
    for i in range(height):
        for j in range(1, width - 1):
            result[i, j] = (image[i, j + 1] - image[i, j - 1]) * 0.5
        if width > 1:
            result[i, 0] = image[i, 1] - image[i, 0]
            result[i, width - 1] = image[i, width - 1] - image[i, width - 2]
    return result


@njit(cache=True, nogil=True)
def _suppress(image: np.ndarray, smooth: np.ndarray) -> np.ndarray:
    """Both neighbours are always looked up: no processor foresees how the first comparison ends."""
    height, width = image.shape
    right, down = _gradient_right(smooth), _gradient_down(smooth)
    result = np.zeros((height, width), np.float32)
    for i in range(height):
        for j in range(width):
            sine, cosine = _across(right, down, i, j)
            before, after = _between(image, i - sine, j - cosine), _between(image, i + sine, j + cosine)
            kept = image[i, j] * (_fade(i, height) * _fade(j, width))
            result[i, j] = kept if np.float32(FACTOR) * image[i, j] >= max(before, after) else 0.0
    return result


@njit(cache=True, nogil=True)
def _across(right: np.ndarray, down: np.ndarray, i: int, j: int) -> tuple[float, float]:
    """Sine and cosine of the direction across the ridge, from first derivatives; the sign is arbitrary."""
    above, below = max(i - 1, 0), min(i + 1, right.shape[0] - 1)
    before, after = max(j - 1, 0), min(j + 1, right.shape[1] - 1)
    rows, columns = 1.0 / max(below - above, 1), 1.0 / max(after - before, 1)
    xx = (right[i, after] - right[i, before]) * columns
    xy = (right[below, j] - right[above, j]) * rows
    yy = (down[below, j] - down[above, j]) * rows
    slope = yy * -np.sign(xy) / (xx + 1e-5)
    cosine = 1 / math.sqrt(1 + slope * slope)
    return slope * cosine, cosine


@njit(cache=True, nogil=True)
def _fade(place: int, size: int) -> float:
    """The share of the strength that stays so near to the borders of one axis."""
    return min(place, size - 1 - place, BORDER) / BORDER


@njit(cache=True, nogil=True)
def _between(image: np.ndarray, y: float, x: float) -> float:
    """Bilinear interpolation at (y, x); coordinates are clamped to [0, size - 1.001]."""
    y = min(max(y, 0.0), max(image.shape[0] - 1.001, 0.0))
    x = min(max(x, 0.0), max(image.shape[1] - 1.001, 0.0))
    top, left = np.int32(y), np.int32(x)
    bottom, right = min(top + 1, image.shape[0] - 1), min(left + 1, image.shape[1] - 1)
    dy, dx = y - top, x - left
    above = image[top, left] * (1 - dx) + image[top, right] * dx
    below = image[bottom, left] * (1 - dx) + image[bottom, right] * dx
    return above * (1 - dy) + below * dy
