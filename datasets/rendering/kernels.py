"""The compiled entry points: scene to maps and linear light, and linear light to a photograph."""

import hashlib
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numba import njit

from .builder import Scene
from .compiled import ENTRY, UNCOUNTED
from .shading import look_along
from .textures import hashed

SOURCES = ("compiled", "vocabulary", "solids", "surfaces", "textures", "shading", "kernels")


def source_digest() -> str:
    """A checksum of all compiled code."""
    digest = hashlib.sha256()
    for name in SOURCES:
        digest.update(Path(__file__).with_name(f"{name}.py").read_bytes())
    return digest.hexdigest()[:16]


def _tracer(digest: str) -> Callable[..., None]:
    """Numba's disk cache watches one file only; as a captured value the digest of all is part of its key."""

    @njit(**UNCOUNTED)
    def trace(
        scene: Scene, rows: np.ndarray, depth: np.ndarray, normals: np.ndarray, light: np.ndarray
    ) -> None:
        """One ray a pixel: fill rows (H, W), depth (H, W), normals (3, H, W) and linear light (H, W, 3)."""
        digest  # noqa: B018
        height, width = depth.shape
        c = scene.camera
        for i in range(height):
            y = (1.0 - (2 * i + 1) / height) * c[13]
            for j in range(width):
                x = ((2 * j + 1) / width - 1.0) * c[12]
                z, row, n, colour = look_along(scene, x, y, i * width + j)
                rows[i, j], depth[i, j] = row, z
                normals[0, i, j] = n[0] * c[3] + n[1] * c[4] + n[2] * c[5]
                normals[1, i, j] = n[0] * c[6] + n[1] * c[7] + n[2] * c[8]
                normals[2, i, j] = -(n[0] * c[9] + n[1] * c[10] + n[2] * c[11])
                light[i, j, 0], light[i, j, 1], light[i, j, 2] = colour

    return trace


def _smoother(digest: str) -> Callable[..., None]:
    """As `_tracer`."""

    @njit(**UNCOUNTED)
    def smooth(scene: Scene, rows: np.ndarray, light: np.ndarray) -> None:
        """Where another solid is next to a pixel's, average its light with that of three more rays."""
        digest  # noqa: B018
        height, width = rows.shape
        for i in range(height):
            for j in range(width):
                row, up, down = rows[i, j], max(i - 1, 0), min(i + 1, height - 1)
                left, right = rows[i, max(j - 1, 0)], rows[i, min(j + 1, width - 1)]
                if row == left and row == right and row == rows[up, j] and row == rows[down, j]:
                    continue
                for k in range(1, 4):
                    y = (1.0 - (2 * i + 1 + (0.5 if k & 1 else -0.5)) / height) * scene.camera[13]
                    x = ((2 * j + 1 + (0.5 if k & 2 else -0.5)) / width - 1.0) * scene.camera[12]
                    colour = look_along(scene, x, y, (i * width + j) * 4 + k)[3]
                    for band in range(3):
                        light[i, j, band] += colour[band]
                for band in range(3):
                    light[i, j, band] *= 0.25

    return smooth


@njit(**ENTRY)
def develop(light: np.ndarray, look: np.ndarray, seed: int, image: np.ndarray) -> None:
    """Linear light (H, W, 3) through lens, exposure and sensor noise to a uint8 image (3, H, W)."""
    height, width = image.shape[1:]
    side, exposure = 0.5 * look[4], look[3] / (np.mean(light) + 0.02)
    for i in range(height):
        up, down = max(i - 1, 0), min(i + 1, height - 1)
        for j in range(width):
            left, right = max(j - 1, 0), min(j + 1, width - 1)
            u, v = (2 * i + 1) / height - 1.0, (2 * j + 1) / width - 1.0
            vignette = 1.0 - 0.12 * (u * u + v * v)
            for b in range(3):
                around = light[up, j, b] + light[down, j, b] + light[i, left, b] + light[i, right, b]
                value = (light[i, j, b] + side * around) / (1.0 + 4.0 * side) * exposure * vignette
                value = value / (1.0 + 0.35 * value)  # soft shoulder: lamps do not clip at once
                spread = -2.0
                for k in range(4):
                    spread += hashed(i * width + j, 4 * b + k, seed + 17)
                tone = 255.0 * (math.sqrt(max(value, 0.0)) + look[5] * spread)
                image[b, i, j] = np.uint8(min(max(tone + 0.5, 0.0), 255.0))


trace = _tracer(source_digest())
smooth = _smoother(source_digest())
