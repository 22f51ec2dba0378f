"""Reads one file of an archive into an array, or says what is wrong with it."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from mtlbench.errors import DataError, MtlbenchError
from mtlbench.reading import IMAGE_ERRORS, load_array, unreadable
from mtlbench.strict_yaml import shown_text

Size = tuple[int, int]
LARGEST_SIDE = 16_384
DEEP = "I;16"
_MODES = {"RGB": ("RGB",), "L": ("L", "P"), DEEP: (DEEP, "I")}
"""Pillow's modes that are read as each mode; "P" are a palette's indices."""


def parse_size(size: str) -> tuple[int, int]:
    """Height and width of a text such as "96x128".

    Raises:
        MtlbenchError: it is not of this form, or a side is not within 16 and `LARGEST_SIDE`.
    """
    match = re.fullmatch(r"([0-9]{2,5})x([0-9]{2,5})", str(size))
    if match is None or min(map(int, match.groups())) < 16 or max(map(int, match.groups())) > LARGEST_SIDE:
        form = f"HEIGHTxWIDTH with sides of 16 to {LARGEST_SIDE}, e.g. 96x128"
        raise MtlbenchError(f"`size` must be {form}, got {shown_text(repr(size))}")
    return int(match[1]), int(match[2])


def read_rgb(path: Path, size: Size | None = None) -> np.ndarray:
    """An 8-bit RGB image as (H, W, 3) uint8; of `size` (H, W) where one is given."""
    return _read_image(path, "RGB", size)


def read_grey(path: Path, size: Size | None = None) -> np.ndarray:
    """An 8-bit single-channel image (also a palette's indices) as (H, W) uint8."""
    return _read_image(path, "L", size)


def read_deep(path: Path, size: Size | None = None) -> np.ndarray:
    """A 16-bit single-channel image as (H, W) uint16."""
    return _read_image(path, DEEP, size)


def image_size(path: Path) -> Size:
    """Height and width from an image's header."""
    try:
        with Image.open(path) as image:
            return image.height, image.width
    except IMAGE_ERRORS as error:
        raise DataError(unreadable(path, "an image", error)) from error


def array_size(path: Path) -> Size:
    """Height and width, the first two sides, from the header of a .npy file."""
    shape = load_array(path, "a .npy file", lazily=True).shape
    if len(shape) < 2:
        raise DataError(f"{path} must hold an array of at least two sides, found {shape}")
    return int(shape[0]), int(shape[1])


def read_array(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """A .npy file of numbers with the given shape, or with a trailing axis of length 1 more."""
    array = load_array(path, f"a .npy file of shape {shape}")
    if array.shape == (*shape, 1):
        array = array[..., 0]
    if array.shape != shape or array.dtype.kind not in "fiub":
        raise DataError(f"{path} must hold numbers of shape {shape}, found {array.dtype} {array.shape}")
    return array


def read_ids(path: Path) -> list[str]:
    """The lines of a split file: unique, none blank."""
    try:
        ids = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(unreadable(path, "a text file with one image id a line", error)) from error
    ids = [line.rstrip("\r") for line in ids]
    while ids and not ids[-1]:
        ids.pop()
    if not ids:
        raise DataError(f"{path} must hold one image id a line, found none")
    for number, line in enumerate(ids, start=1):
        if not line.strip() or line != line.strip():
            raise DataError(f"{path}, line {number}: an image id is required, found {line!r}")
    if len(set(ids)) < len(ids):
        twice = next(name for name in ids if ids.count(name) > 1)
        raise DataError(f"{path} must name each image once, found {twice!r} more often")
    return ids


def stamp(paths: Sequence[Path]) -> str:
    """Names, sizes and times of files: what tells that one was changed, without reading it."""
    states = ((path, path.stat()) for path in paths)
    return "".join(f"{path.name}:{state.st_size}:{state.st_mtime_ns};" for path, state in states)


def require(paths: Sequence[Path]) -> None:
    """Check, by listing each folder once, that all these files exist.

    Raises:
        DataError: a folder is missing, or files are: the first and their number are named.
    """
    by_folder: dict[Path, list[str]] = {}
    for path in paths:
        by_folder.setdefault(path.parent, []).append(path.name)
    for folder, names in by_folder.items():
        if not folder.is_dir():
            raise DataError(f"the folder {folder} is required, but is not there")
        present = {entry.name for entry in folder.iterdir()}
        missing = [name for name in names if name not in present]
        if missing:
            raise DataError(
                f"{folder / missing[0]} is required, but is not there"
                f" ({len(missing)} of {len(names)} files of {folder.name}/ are missing)"
            )


def _read_image(path: Path, mode: str, size: Size | None) -> np.ndarray:
    try:
        with Image.open(path) as image:
            found = image.mode
            array = np.array(image)
    except IMAGE_ERRORS as error:
        raise DataError(unreadable(path, _called(mode), error)) from error
    if found not in _MODES[mode]:
        raise DataError(f"{path} must be {_called(mode)}, found mode {found}")
    if mode == DEEP:
        array = array.astype(np.uint16, copy=False)
    if size is not None and array.shape[:2] != size:
        raise DataError(
            f"{path} must be {size[0]}x{size[1]} (height x width) as its image is,"
            f" found {array.shape[0]}x{array.shape[1]}"
        )
    return array


def _called(mode: str) -> str:
    return "a 16-bit greyscale image" if mode == DEEP else f"an 8-bit {mode} image"
