"""Reads predictions and ground truths of boundaries, and tells from headers what they hold."""

from pathlib import Path

import numpy as np
from PIL import Image

from mtlbench.boundary.protocols import Truth
from mtlbench.errors import DataError
from mtlbench.reading import IMAGE_ERRORS, load_array, load_mat, unreadable

PREDICTIONS, TRUTHS = (".png", ".npy"), (".png", ".npy", ".mat")
GREY = ("L", "P", "1", "I", "I;16", "I;16B")
"""Modes of Pillow with one number a pixel."""
MAT_KEY = "LabelMap"
ARRAY = "a .npy file of numbers"
_PNG_END = b"\0\0\0\0IEND\xaeB`\x82"


def check_prediction(path: Path) -> tuple[int, int]:
    """Height and width of a prediction, from its header.

    Raises:
        DataError: it is no 8-bit grey PNG, no .npy of floats or of uint8, or is cut off.
    """
    if path.suffix == ".png":
        return _png_size(path, ("L",), "an 8-bit grey PNG")
    return _shape(
        path, load_array(path, ARRAY, lazily=True), "fu", "strengths in [0, 1] or uint8 (height, width)"
    )


def check_truth(path: Path) -> tuple[int, int]:
    """Height and width of a ground truth, from its header.

    Raises:
        DataError: it is no PNG with one channel, .npy of numbers or .mat with a `LabelMap`, or is cut off.
    """
    if path.suffix == ".png":
        return _png_size(path, GREY, "an 8-bit or 16-bit PNG with one channel")
    if path.suffix == ".npy":
        return _shape(path, load_array(path, ARRAY, lazily=True), "fiub", "numbers (height, width)")
    return _mat_shape(path)


def read_prediction(path: Path) -> np.ndarray:
    """(H, W) uint8, strength * 255; floats in [0, 1] are rounded down, as the published files are.

    Raises:
        DataError: the file is damaged, or a float is outside of [0, 1].
    """
    if path.suffix == ".png":
        return _read_png(path)
    array = _plane(load_array(path, ARRAY))
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind != "f" or not (array.min() >= 0 and array.max() <= 1):  # also false for NaN
        raise DataError(f"{path} must hold strengths in [0, 1], found {array.dtype} outside of it")
    return np.floor(255 * array).astype(np.uint8)


def read_truth(path: Path, kind: Truth) -> np.ndarray:
    """(H, W) integers for "labels", else (H, W) bool: where there is an edge.

    An 8-bit picture has edges above 127, as readers of NYUD-v2 take it; one without anything above 1, and any
    other file, where it is not 0.

    Raises:
        DataError: the file is damaged.
    """
    if path.suffix == ".mat":
        array = load_mat(path, MAT_KEY)
    else:
        array = _read_png(path) if path.suffix == ".png" else _plane(load_array(path, ARRAY))
    if kind == "labels":
        return array
    picture = path.suffix == ".png" and array.dtype == np.uint8 and array.max() > 1
    return array > 127 if picture else array != 0


def _png_size(path: Path, modes: tuple[str, ...], required: str) -> tuple[int, int]:
    try:
        with Image.open(path, formats=["PNG"]) as image:
            if image.mode not in modes:
                raise DataError(f"{path} must be {required}, found mode {image.mode}")
            size = image.height, image.width
            with path.open("rb") as file:
                file.seek(-min(len(_PNG_END), path.stat().st_size), 2)
                if file.read() != _PNG_END:
                    image.load()  # only a whole file can be read
    except IMAGE_ERRORS as error:
        raise DataError(unreadable(path, required, error)) from error
    return size


def _read_png(path: Path) -> np.ndarray:
    try:
        with Image.open(path, formats=["PNG"]) as image:
            return np.array(image)
    except IMAGE_ERRORS as error:
        raise DataError(unreadable(path, "a PNG", error)) from error


def _shape(path: Path, array: np.ndarray, kinds: str, required: str) -> tuple[int, int]:
    shape = _plane(array).shape
    unsigned = kinds == "fu" and array.dtype.kind == "u" and array.dtype != np.uint8
    if len(shape) != 2 or array.dtype.kind not in kinds or unsigned:
        raise DataError(f"{path} must hold {required}, found {array.dtype} {array.shape}")
    return shape[0], shape[1]


def _plane(array: np.ndarray) -> np.ndarray:
    """Without axes of length 1 that a file has more than two."""
    return array.reshape([length for length in array.shape if length != 1]) if array.ndim > 2 else array


def _mat_shape(path: Path) -> tuple[int, int]:
    from scipy.io import whosmat

    required = f"a .mat file with `{MAT_KEY}` (height, width)"
    try:
        shapes = {name: shape for name, shape, _ in whosmat(path)}
    except (OSError, ValueError, TypeError, NotImplementedError) as error:
        raise DataError(unreadable(path, required, error)) from error
    if len(shapes.get(MAT_KEY, ())) != 2:
        raise DataError(f"{path} must be {required}, found {', '.join(shapes) or 'nothing'}")
    height, width = shapes[MAT_KEY]
    return height, width
