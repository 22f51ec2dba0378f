"""Rooms in the layout of NYUD-v2."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np

from mtlbench.data import Split
from mtlbench.errors import MtlbenchError
from mtlbench.registry import unknown

from . import nyud
from .layout_files import Writer, coded, empty_folder, save, values_of, write_ids, write_split
from .rendering import Rendered
from .rendering.vocabulary import CLASSES

VALUES = values_of(CLASSES, nyud.CLASSES, range(1, len(nyud.CLASSES) + 1), "uint8")
"""NYUD-v2 has all classes of rooms; a segmentation file holds a class's index + 1."""


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
    target = empty_folder(root)
    suffixes = nyud.FLAVOURS[flavour].suffixes
    for folder in suffixes:
        (target / folder).mkdir()
    splits: Mapping[Split, range] = {"train": range(1, train + 1), "val": range(train + 1, train + val + 1)}
    for split, span in splits.items():
        ids = [f"{number:04d}" for number in span]
        write_ids(target / "gt_sets" / f"{split}.txt", ids)
        write_split(target, split, [size] * len(ids), seed, _writer(target, ids, suffixes))


def _writer(root: Path, ids: list[str], suffixes: Mapping[str, str]) -> Writer:
    binary, packed = suffixes["edge"] == ".npy", suffixes["normals"] == ".npy"

    def write(index: int, room: Rendered) -> None:
        contents = {
            "images": room.image.transpose(1, 2, 0),
            "segmentation": VALUES[room.semseg],
            "depth": room.depth,
            "normals": np.ascontiguousarray(room.normals.transpose(1, 2, 0))
            if packed
            else coded(room.normals),
            "edge": room.edge.astype(np.float32) if binary else room.edge * np.uint8(255),
        }
        for folder, values in contents.items():
            save(root / folder / f"{ids[index]}{suffixes[folder]}", values)

    return write
