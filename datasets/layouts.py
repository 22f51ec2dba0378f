"""Rooms written as other data sets lay out their files: fixtures, and stand-ins of full size."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from PIL import Image

from mtlbench.errors import MtlbenchError
from mtlbench.registry import unknown

from . import nyud, parallel
from .files import parse_size
from .rendering import Rendered, compose, render
from .rendering.vocabulary import CLASSES
from .rooms import STREAMS, Rooms

log = logging.getLogger(__name__)
Writer = Callable[[Path, str, Rendered], None]
"""Writes one picture and its labels: (root, id, room)."""

NYUD_IDS = np.array([nyud.CLASSES.index(name) + 1 for name in CLASSES], dtype=np.uint8)
"""The value that a NYUD segmentation file holds for each class of rooms."""


class Layout(Protocol):
    """Makes a whole data set of rooms."""

    def __call__(self, root: Path, *, train: int, val: int, size: tuple[int, int], seed: int) -> None: ...


def make_rooms(
    *,
    root: str = "data/rooms",
    train: int = 1000,
    val: int = 200,
    size: str | None = None,
    seed: int = 0,
    layout: str | None = None,
) -> None:
    """What `mtlbench data make rooms` does: the arrays of `Rooms`, or another data set's files.

    Args:
        root: folder to write to; for a layout it must be empty or absent.
        train: number of training scenes.
        val: number of validation scenes.
        size: "HEIGHTxWIDTH"; None is 96x128, or the layout's own size.
        seed: of the scenes.
        layout: a name in `LAYOUTS`, or None for the arrays that `Rooms` reads.
    """
    if layout is None:
        Rooms.prepare(root=root, train=train, val=val, size=size or "96x128", seed=seed)
        return
    if layout not in LAYOUTS:
        raise MtlbenchError(unknown("layout", layout, tuple(LAYOUTS)))
    write, usual = LAYOUTS[layout]
    write(Path(root), train=train, val=val, size=parse_size(size or usual), seed=seed)


def write_nyud(
    root: Path | str,
    *,
    train: int,
    val: int,
    size: tuple[int, int] = (425, 560),
    flavour: Literal["NYUDv2", "NYUD_MT"] = "NYUDv2",
    seed: int = 0,
) -> None:
    """Write rooms in the layout of NYUD-v2.

    Args:
        root: the folder to write; it must be empty or absent.
        train: number of training images; their ids are 0001 and on, then follow those of val.
        val: number of test images.
        size: height and width.
        flavour: which of the two published archives.
        seed: of the scenes.
    """
    if flavour not in nyud.FLAVOURS:
        raise MtlbenchError(unknown("flavour", flavour, tuple(nyud.FLAVOURS)))
    target = _empty_folder(Path(root))
    suffixes = nyud.FLAVOURS[flavour].suffixes
    for folder in ("gt_sets", *suffixes):
        (target / folder).mkdir()
    numbers = {"train": range(1, train + 1), "val": range(train + 1, train + val + 1)}
    for split, span in numbers.items():
        ids = [f"{number:04d}" for number in span]
        (target / "gt_sets" / f"{split}.txt").write_text(
            "".join(f"{name}\n" for name in ids), encoding="utf-8"
        )
        _write_split(target, ids, (seed, STREAMS[split]), size, _nyud_writer(suffixes))


def _nyud_writer(suffixes: Mapping[str, str]) -> Writer:
    def write(root: Path, name: str, room: Rendered) -> None:
        normals = np.ascontiguousarray(room.normals.transpose(1, 2, 0))
        binary, packed = suffixes["edge"] == ".npy", suffixes["normals"] == ".npy"
        contents = {
            "images": room.image.transpose(1, 2, 0),
            "segmentation": NYUD_IDS[room.semseg],
            "depth": room.depth,
            "normals": normals if packed else np.rint((normals + 1) * 127.5).astype(np.uint8),
            "edge": room.edge.astype(np.float32) if binary else room.edge * np.uint8(255),
        }
        for folder, values in contents.items():
            save(root / folder / f"{name}{suffixes[folder]}", values)

    return write


def _write_split(
    root: Path, ids: list[str], stream: tuple[int, int], size: tuple[int, int], write: Writer
) -> None:
    height, width = size
    log.info("rendering %d rooms of %dx%d to %s", len(ids), height, width, root)

    def one(index: int) -> None:
        write(root, ids[index], render(compose((*stream, index), width / height), height, width))

    parallel.each(one, len(ids), root.name)


def save(path: Path, values: np.ndarray) -> None:
    """Write an array as .npy, .png or .jpg (quality 95), by the path's suffix."""
    if path.suffix == ".npy":
        np.save(path, values)
    else:
        Image.fromarray(np.ascontiguousarray(values)).save(path, quality=95)


def _empty_folder(root: Path) -> Path:
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


LAYOUTS: Mapping[str, tuple[Layout, str]] = {"nyud": (write_nyud, "425x560")}
"""Layouts by name: what writes them, and their usual size."""
