"""The maps of 459 classes of PASCAL-Context, and where they change."""

from pathlib import Path

import numpy as np

from mtlbench.errors import DataError
from mtlbench.reading import load_mat

from . import files
from .pascal_classes import CONTEXT_CLASSES


def read_label_map(path: Path, size: files.Size | None) -> np.ndarray:
    """`LabelMap` of a .mat file, (H, W) uint16 of 0 to 459."""
    stored = load_mat(path, "LabelMap")
    if stored.dtype.kind not in "uif" or stored.ndim != 2 or (size is not None and stored.shape != size):
        raise DataError(
            f"{path} must hold a `LabelMap` of numbers of the image's size, {size}, found"
            f" {stored.dtype} {stored.shape}"
        )
    if stored.size and not (stored.min() >= 0 and stored.max() <= CONTEXT_CLASSES):
        raise DataError(
            f"{path} must hold classes 0 to {CONTEXT_CLASSES}, found {stored.min()} to {stored.max()}"
        )
    return stored.astype(np.uint16, copy=False)


def laplacian(labels: np.ndarray) -> np.ndarray:
    """`cv2.Laplacian` with aperture 1: sum of the four neighbours minus four times the pixel, (H, W) int32.

    Borders are mirrored without repeating the outermost pixel. Neighbours that cancel out leave 0.
    """
    padded = np.pad(labels.astype(np.int32), 1, mode="reflect")
    return (
        padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:] - 4 * padded[1:-1, 1:-1]
    )
