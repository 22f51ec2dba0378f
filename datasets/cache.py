"""Arrays on disk, one file each, in a folder that appears whole or not at all."""

import json
import logging
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mtlbench.errors import DataError

log = logging.getLogger(__name__)
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Layout:
    """Shape and type of one array."""

    shape: tuple[int, ...]
    dtype: str


def check_room(planned: Mapping[Path, Mapping[str, Layout]], what: str) -> None:
    """Before any of these folders' arrays are made.

    Raises:
        DataError: they would take more than what is free on the disk of one of the folders.
    """
    sizes = [
        math.prod(a.shape) * np.dtype(a.dtype).itemsize
        for layouts in planned.values()
        for a in layouts.values()
    ]
    for folder in planned:
        there = next(parent for parent in folder.absolute().parents if parent.is_dir())
        free = shutil.disk_usage(there).free
        if sum(sizes) > free:
            found = f"the disk of {folder.parent} has {free / 2**30:.1f} GiB free"
            raise DataError(f"{what} would take {sum(sizes) / 2**30:.1f} GiB, but {found}")


def create(
    folder: Path, layouts: Mapping[str, Layout], fill: Callable[[Mapping[str, np.ndarray]], dict[str, Any]]
) -> None:
    """Make the folder's arrays, unless another process has done so meanwhile.

    Args:
        folder: where the arrays come to lie, as `{name}.npy`.
        layouts: the arrays.
        fill: writes into the mapped arrays and returns what else the manifest is to hold.
    """
    with staged(folder) as staging:
        arrays = {name: _reserve(staging / f"{name}.npy", layout) for name, layout in layouts.items()}
        manifest = fill(arrays)
        for array in arrays.values():
            array.flush()
        del arrays
        (staging / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")


def _reserve(path: Path, layout: Layout) -> np.memmap:
    """A mapped array whose space on disk is taken: a full disk is an error here, but a crash at a write."""
    array = np.lib.format.open_memmap(path, mode="w+", dtype=layout.dtype, shape=layout.shape)
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


@contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """A temporary neighbour of `folder` that takes its place at the end."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=".making-", dir=folder.parent))
    except OSError as error:
        raise DataError(
            f"a folder to write to is required, but {folder.parent} can't be written: {error}"
        ) from error
    try:
        yield staging
        staging.chmod(0o755)
        _move(staging, folder)
    except OSError as error:
        raise DataError(f"{folder} can't be written: {error}") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _move(staging: Path, folder: Path) -> None:
    try:
        os.rename(staging, folder)
    except OSError:
        if not (folder / MANIFEST).is_file():  # else another process was first, with the same arrays
            raise


def load(folder: Path, layouts: Mapping[str, Layout]) -> dict[str, np.ndarray]:
    """The arrays, mapped read-only.

    Raises:
        DataError: a file is missing, cut short, or of another shape or type.
    """
    problem = damage(folder, layouts)
    if problem:
        raise DataError(f"{problem}; run `mtlbench data make` again, or delete {folder}")
    return {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in layouts}


def manifest(folder: Path) -> dict[str, Any]:
    """What `fill` returned when the arrays were made."""
    result: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    return result


def damage(folder: Path, layouts: Mapping[str, Layout]) -> str | None:
    """What is wrong with the folder's files, judged by their headers and sizes; None if nothing is."""
    try:
        manifest(folder)
    except (OSError, ValueError) as error:
        return f"{folder / MANIFEST} must be a JSON file, but: {error}"
    for name, layout in layouts.items():
        path = folder / f"{name}.npy"
        try:
            array = np.load(path, mmap_mode="r")
        except (OSError, ValueError, EOFError) as error:
            return f"{path} must hold {layout.dtype} {layout.shape}, but can't be read: {error}"
        if array.shape != layout.shape or array.dtype != np.dtype(layout.dtype):
            return f"{path} must hold {layout.dtype} {layout.shape}, found {array.dtype} {array.shape}"
    return None


def discard(folder: Path) -> None:
    """Remove a damaged folder in one step, so that a reader never meets half of it."""
    grave = Path(tempfile.mkdtemp(prefix=".damaged-", dir=folder.parent))
    try:
        os.rename(folder, grave / folder.name)
    finally:
        shutil.rmtree(grave, ignore_errors=True)
