"""Rotation and zoom of maps about their middle, then a change of size, with OpenCV's sampling rules.

`cv2.warpAffine` (of OpenCV 4) looks for a pixel's source in steps of 1/1024 (nearest) or 1/32 (cubic) of a
pixel, and what lies outside is 0; `cv2.resize` repeats the border. The cubic's parameter is -0.75 in both.
Labels are fetched through both steps at once, which for nearest neighbours is the same; images are
interpolated twice.
"""

import math
from dataclasses import dataclass

import numpy as np
from numba import njit

from .geometry import nearest

STEPS = 1024
"""Fixed point of coordinates: parts of a pixel."""
PHASES = 32
"""Parts of a pixel that cubic weights exist for."""
CUBIC = -0.75
SHORTEST = 1e-6
"""Shorter interpolated vectors have no direction: they are invalid."""


def source_matrix(size: tuple[int, int], angle: float, scale: float) -> np.ndarray:
    """Where a pixel (x, y, 1) of the turned map comes from, (2, 3) float64.

    Args:
        size: (H, W) of the map; it turns about (W / 2, H / 2).
        angle: degrees, counter-clockwise as seen.
        scale: above 1 things grow.
    """
    cosine, sine = scale * math.cos(math.radians(angle)), scale * math.sin(math.radians(angle))
    x, y = size[1] / 2, size[0] / 2
    down_x, down_y = (1 - cosine) * x - sine * y, sine * x + (1 - cosine) * y
    square = cosine * cosine + sine * sine
    across, along = cosine / square, sine / square
    return np.array(
        [
            [across, -along, along * down_y - across * down_x],
            [along, across, -along * down_x - across * down_y],
        ]
    )


@dataclass(frozen=True, kw_only=True)
class Affine:
    """A rotation and zoom that keeps a map's size, then a resize.

    Attributes:
        angle: degrees, counter-clockwise as seen.
        scale: above 1 things grow.
        size: (H, W) of the result.
    """

    angle: float
    scale: float
    size: tuple[int, int]

    def nearest(self, planes: np.ndarray) -> np.ndarray:
        """(C, h, w) of any type -> (C, H, W); 0 outside."""
        height, width = planes.shape[1:]
        rows = nearest(0, self.size[0], self.size[0], height).astype(np.int64)
        columns = nearest(0, self.size[1], self.size[1], width).astype(np.int64)
        result = np.zeros((len(planes), *self.size), planes.dtype)
        _fetch(planes, source_matrix((height, width), self.angle, self.scale), rows, columns, result)
        return result

    def cubic(self, planes: np.ndarray) -> np.ndarray:
        """(C, h, w) uint8 or float32 -> (C, H, W) float32, which may overshoot; 0 outside."""
        size = planes.shape[1:]
        if self.angle != 0 or self.scale != 1:
            warped = np.empty(planes.shape, np.float32)
            matrix = source_matrix((size[0], size[1]), self.angle, self.scale)
            if self.angle == 0:
                rows = _zoom_taps(matrix[1, 1], matrix[1, 2], size[0])
                _resize(planes, *rows, *_zoom_taps(matrix[0, 0], matrix[0, 2], size[1]), warped)
            else:
                _warp(planes, matrix, _phases(), warped)
            planes = warped
        if size == self.size:
            return planes.astype(np.float32)  # a copy: callers change it in place
        result = np.empty((len(planes), *self.size), np.float32)
        _resize(planes, *_taps(self.size[0], size[0]), *_taps(self.size[1], size[1]), result)
        return result


def _weights(share: np.ndarray) -> np.ndarray:
    """Weights of the pixels -1, 0, 1, 2 at a distance of `share` behind pixel 0, (N, 4) float32."""
    t = np.asarray(share, np.float32)
    before = ((CUBIC * (t + 1) - 5 * CUBIC) * (t + 1) + 8 * CUBIC) * (t + 1) - 4 * CUBIC
    at = ((CUBIC + 2) * t - (CUBIC + 3)) * t * t + 1
    after = ((CUBIC + 2) * (1 - t) - (CUBIC + 3)) * (1 - t) * (1 - t) + 1
    return np.stack([before, at, after, 1 - before - at - after], -1).astype(np.float32)


def _phases() -> np.ndarray:
    return _weights(np.arange(PHASES) / PHASES)


def _taps(new: int, old: int) -> tuple[np.ndarray, np.ndarray]:
    """The four pixels that each of `new` is made of, (new, 4), and their weights."""
    exact = (np.arange(new) + 0.5) * (old / new) - 0.5
    first = np.floor(exact).astype(np.int64)
    return (first[:, None] + np.arange(-1, 3)).clip(0, old - 1), _weights(exact - first)


def _zoom_taps(factor: float, offset: float, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The same for one axis of the turned map where nothing turns; what lies outside weighs nothing."""
    step = STEPS // PHASES
    exact = np.rint(factor * np.arange(size) * STEPS) + np.rint(offset * STEPS) + step // 2
    place = exact.astype(np.int64) // step
    taps = (place // PHASES)[:, None] + np.arange(-1, 3)
    weights = np.where((taps >= 0) & (taps < size), _phases()[place % PHASES], np.float32(0))
    return taps.clip(0, size - 1), weights


@njit(cache=True, nogil=True, error_model="numpy")
def _fetch(
    planes: np.ndarray, matrix: np.ndarray, rows: np.ndarray, columns: np.ndarray, result: np.ndarray
) -> None:
    """The turned map at `rows` and `columns`."""
    height, width = planes.shape[1], planes.shape[2]
    right, down = np.empty(columns.size, np.int64), np.empty(columns.size, np.int64)
    for j in range(columns.size):
        right[j] = np.int64(np.rint(matrix[0, 0] * columns[j] * STEPS))
        down[j] = np.int64(np.rint(matrix[1, 0] * columns[j] * STEPS))
    for i in range(rows.size):
        x0 = np.int64(np.rint((matrix[0, 1] * rows[i] + matrix[0, 2]) * STEPS)) + STEPS // 2
        y0 = np.int64(np.rint((matrix[1, 1] * rows[i] + matrix[1, 2]) * STEPS)) + STEPS // 2
        for j in range(columns.size):
            x, y = (x0 + right[j]) // STEPS, (y0 + down[j]) // STEPS
            if 0 <= x < width and 0 <= y < height:
                for c in range(planes.shape[0]):
                    result[c, i, j] = planes[c, y, x]


@njit(cache=True, nogil=True, error_model="numpy")
def _warp(planes: np.ndarray, matrix: np.ndarray, phases: np.ndarray, result: np.ndarray) -> None:
    """The turned map, cubic."""
    height, width = planes.shape[1], planes.shape[2]
    step, half = STEPS // PHASES, STEPS // PHASES // 2
    for i in range(height):
        x0 = np.int64(np.rint((matrix[0, 1] * i + matrix[0, 2]) * STEPS)) + half
        y0 = np.int64(np.rint((matrix[1, 1] * i + matrix[1, 2]) * STEPS)) + half
        for j in range(width):
            across = (x0 + np.int64(np.rint(matrix[0, 0] * j * STEPS))) // step
            along = (y0 + np.int64(np.rint(matrix[1, 0] * j * STEPS))) // step
            x, y = across // PHASES - 1, along // PHASES - 1
            horizontal, vertical = phases[across % PHASES], phases[along % PHASES]
            inside = 0 <= x < width - 3 and 0 <= y < height - 3
            for c in range(planes.shape[0]):
                total = np.float32(0)
                if inside:
                    for k in range(4):
                        row = planes[c, y + k]
                        total += vertical[k] * (
                            horizontal[0] * row[x]
                            + horizontal[1] * row[x + 1]
                            + horizontal[2] * row[x + 2]
                            + horizontal[3] * row[x + 3]
                        )
                else:
                    for k in range(4):
                        for n in range(4):
                            if 0 <= y + k < height and 0 <= x + n < width:
                                total += vertical[k] * horizontal[n] * planes[c, y + k, x + n]
                result[c, i, j] = total


@njit(cache=True, nogil=True, error_model="numpy")
def _resize(
    planes: np.ndarray,
    rows: np.ndarray,
    row_weights: np.ndarray,
    columns: np.ndarray,
    column_weights: np.ndarray,
    result: np.ndarray,
) -> None:
    """Cubic, first down, then across."""
    line = np.empty(planes.shape[2], np.float32)
    for c in range(planes.shape[0]):
        for i in range(rows.shape[0]):
            first, second, third, fourth = (
                planes[c, rows[i, 0]],
                planes[c, rows[i, 1]],
                planes[c, rows[i, 2]],
                planes[c, rows[i, 3]],
            )
            a, b, d, e = row_weights[i, 0], row_weights[i, 1], row_weights[i, 2], row_weights[i, 3]
            for j in range(line.size):
                line[j] = a * first[j] + b * second[j] + d * third[j] + e * fourth[j]
            for j in range(columns.shape[0]):
                result[c, i, j] = (
                    column_weights[j, 0] * line[columns[j, 0]]
                    + column_weights[j, 1] * line[columns[j, 1]]
                    + column_weights[j, 2] * line[columns[j, 2]]
                    + column_weights[j, 3] * line[columns[j, 3]]
                )


@njit(cache=True, nogil=True)
def turn_vectors(vectors: np.ndarray, cosine: float, sine: float) -> None:
    """Turn (3, H, W) in place and normalise, (x, y) -> (x cos + y sin, y cos - x sin)."""
    for i in range(vectors.shape[1]):
        for j in range(vectors.shape[2]):
            x, y, z = vectors[0, i, j], vectors[1, i, j], vectors[2, i, j]
            length = math.sqrt(x * x + y * y + z * z)
            inverse = 1 / length if length > SHORTEST else 0.0
            vectors[0, i, j] = (x * cosine + y * sine) * inverse
            vectors[1, i, j] = (y * cosine - x * sine) * inverse
            vectors[2, i, j] = z * inverse
