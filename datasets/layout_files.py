"""What the writers of other data sets' layouts share."""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from mtlbench.data import Split
from mtlbench.errors import MtlbenchError

from . import files, parallel
from .rendering import Rendered, compose, render
from .rendering.vocabulary import CLASSES
from .rooms import STREAMS

log = logging.getLogger(__name__)
Writer = Callable[[int, Rendered], None]
"""Writes one picture and its labels: (index in the split, room)."""


class Layout(Protocol):
    """Makes a whole data set of rooms."""

    def __call__(self, root: Path, *, train: int, val: int, size: files.Size, seed: int) -> None: ...


def values_of(names: Sequence[str], among: Sequence[str], values: Sequence[int], dtype: str) -> np.ndarray:
    """What a file holds for each class of rooms, (13,).

    Args:
        names: the other data set's class for each class of rooms.
        among: all classes of the other data set.
        values: what a file holds for each of them.
        dtype: of the file.
    """
    assert len(names) == len(CLASSES), "each class of rooms becomes another one"
    return np.array([values[among.index(name)] for name in names], dtype)


def write_split(root: Path, split: Split, sizes: Sequence[files.Size], seed: int, write: Writer) -> None:
    """Render one room for each of `sizes` and write it."""
    log.info("rendering %d rooms to %s", len(sizes), root)

    def one(index: int) -> None:
        height, width = sizes[index]
        write(index, render(compose((seed, STREAMS[split], index), width / height), height, width))

    parallel.each(one, len(sizes), root.name)


def write_stacks(
    root: Path,
    counts: Mapping[Split, int],
    size: files.Size,
    seed: int,
    contents: Mapping[str, Callable[[Rendered], np.ndarray]],
) -> None:
    """Write rooms as MTAN's archives have them: SPLIT/FOLDER/INDEX.npy, float32.

    Args:
        root: an empty folder.
        counts: images of each split.
        size: height and width.
        seed: of the scenes.
        contents: what each folder holds of a room.
    """
    for split, count in counts.items():
        folders = {root / split / folder: values for folder, values in contents.items()}
        for folder in folders:
            folder.mkdir(parents=True)

        def write(index: int, room: Rendered, folders: Mapping[Path, Any] = folders) -> None:
            for folder, values in folders.items():
                save(folder / f"{index}.npy", np.ascontiguousarray(values(room), dtype=np.float32))

        write_split(root, split, [size] * count, seed, write)


def without_edges(table: np.ndarray) -> Callable[[Rendered], np.ndarray]:
    """Class maps of rooms through a table, -1 along edges."""
    return lambda room: np.where(room.edge != 0, -1, table[room.semseg])


def save(path: Path, values: np.ndarray) -> None:
    """Write an array as .npy, .png or .jpg (quality 95), by the path's suffix."""
    if path.suffix == ".npy":
        np.save(path, values)
    else:
        Image.fromarray(np.ascontiguousarray(values)).save(path, quality=95)


def coded(normals: np.ndarray) -> np.ndarray:
    """Unit vectors (3, H, W) in the 8 bits of archives, (H, W, 3)."""
    return np.rint((normals.transpose(1, 2, 0) + 1) * 127.5).astype(np.uint8)


def empty_folder(root: Path | str) -> Path:
    """A new folder, or one without content.

    Raises:
        MtlbenchError: it holds something, or can't be made.
    """
    root = Path(root)
    try:
        root.mkdir(parents=True, exist_ok=True)
        found = next(root.iterdir(), None)
    except OSError as error:
        raise MtlbenchError(f"a folder to write to is required, but {root} can't be made: {error}") from error
    if found is not None:
        raise MtlbenchError(
            f"{root} must be empty or absent, found {found.name} in it: choose another folder"
        )
    return root


def write_ids(path: Path, ids: Sequence[str]) -> None:
    """A split file: one id a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{name}\n" for name in ids), encoding="utf-8")
