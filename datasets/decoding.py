"""Decoded files become what samples hold; what can't be right is said with its path and pixel counts."""

import math
from pathlib import Path

import numpy as np
import torch
from numba import njit
from torchvision import tv_tensors

from mtlbench.errors import DataError
from mtlbench.labels import ClassMap, Depth, Normals

from .geometry import SAME_AS_ZERO

FORBIDDEN = 254
"""In a table of classes: a value that no file may hold."""


def image(pixels: np.ndarray) -> tv_tensors.Image:
    """(H, W, 3) uint8 RGB -> (3, H, W)."""
    return tv_tensors.Image(torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1))))


def class_map(stored: np.ndarray, table: np.ndarray, path: Path) -> ClassMap:
    """(H, W) uint8 through a table of 256 entries; `FORBIDDEN` marks what must not occur.

    Raises:
        DataError: the file holds such a value.
    """
    classes = table[stored]
    wrong = classes == FORBIDDEN
    if wrong.any():
        known = np.flatnonzero(table[:255] != FORBIDDEN)
        void = " or 255" if table[255] != FORBIDDEN else ""
        raise DataError(
            f"{path} must hold the classes {known[0]} to {known[-1]}{void}, found {stored[wrong].max()}"
            f" ({int(wrong.sum())} of {wrong.size} pixels hold none of them)"
        )
    return ClassMap(torch.from_numpy(classes))


def binary(stored: np.ndarray, path: Path) -> ClassMap:
    """(H, W) of any number type, 0 and 1 or 0 and 255 -> 0 and 1.

    Raises:
        DataError: it holds another value.
    """
    positive = (stored == 1) | (stored == 255)
    wrong = ~(positive | (stored == 0))
    if wrong.any():
        raise DataError(
            f"{path} must hold 0 and 1, or 0 and 255, found {stored[wrong][0]}"
            f" ({int(wrong.sum())} of {wrong.size} pixels hold others)"
        )
    return ClassMap(torch.from_numpy(positive.astype(np.uint8)))


def metres(stored: np.ndarray, path: Path) -> np.ndarray:
    """(H, W) of any number type -> float32, finite and >= 0; 0 is invalid.

    Raises:
        DataError: it holds NaN, infinity or a negative number; with their counts.
    """
    values = stored.astype(np.float32)
    wrong = ~(np.isfinite(values) & (values >= 0))
    if wrong.any():
        finite = values[np.isfinite(values)]
        span = f"the finite ones from {finite.min():g} to {finite.max():g}" if finite.size else "none finite"
        raise DataError(
            f"{path} must hold finite numbers >= 0, found {int(wrong.sum())} of {wrong.size} pixels that hold"
            f" others ({int(np.isnan(values).sum())} NaN; {span})"
        )
    return values


def depth(stored: np.ndarray, path: Path) -> Depth:
    """(H, W) metres, floats -> (1, H, W); see `metres`."""
    if stored.dtype.kind != "f":
        raise DataError(f"{path} must hold floats, found {stored.dtype} up to {stored.max()}")
    return Depth(torch.from_numpy(metres(stored, path))[None])


def coded_normals(pixels: np.ndarray, valid: np.ndarray | None = None) -> Normals:
    """(H, W, 3) uint8, n = 2 v / 255 - 1 -> the code of `Normals`, (3, H, W) uint8.

    No triple decodes to the zero vector, so archives of this form have no invalid pixel: (0, 0, 0), which
    `Normals` keeps for "no label", becomes the code of the same direction.

    Args:
        pixels: of the file.
        valid: (H, W) bool, where the vectors count; None is everywhere.
    """
    coded = np.ascontiguousarray(pixels.transpose(2, 0, 1))
    zero = ~coded.any(0)
    if zero.any():
        coded[:, zero] = SAME_AS_ZERO
    if valid is not None:
        coded *= valid
    return Normals(torch.from_numpy(coded))


def normals(stored: np.ndarray, path: Path) -> Normals:
    """(H, W, 3) vectors -> (3, H, W) float32 of length 1, zero where zero.

    Raises:
        DataError: it holds NaN or infinity.
    """
    vectors, finite = _unit_vectors(stored)
    if not finite:
        wrong = ~np.isfinite(stored).all(-1)
        raise DataError(
            f"{path} must hold finite vectors, found NaN or infinity in {int(wrong.sum())} of {wrong.size}"
            f" pixels"
        )
    return Normals(torch.from_numpy(vectors))


@njit(cache=True, nogil=True, error_model="numpy")
def _unit_vectors(stored: np.ndarray) -> tuple[np.ndarray, bool]:
    """(H, W, 3) -> unit vectors (3, H, W) float32, zero where zero; and whether all are finite."""
    height, width = stored.shape[:2]
    vectors = np.empty((3, height, width), np.float32)
    finite = True
    for i in range(height):
        for j in range(width):
            x, y, z = float(stored[i, j, 0]), float(stored[i, j, 1]), float(stored[i, j, 2])
            square = x * x + y * y + z * z
            finite &= square < np.inf  # false for NaN
            inverse = 1.0 / math.sqrt(square) if square > 1e-12 else 0.0
            vectors[0, i, j], vectors[1, i, j], vectors[2, i, j] = x * inverse, y * inverse, z * inverse
    return vectors, finite
