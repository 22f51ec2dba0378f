"""Rooms in the layout of MTAN's NYUv2."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mtlbench.data import Split

from .layout_files import Writer, empty_folder, save, values_of, write_split
from .mtan import NYU_CLASSES
from .rendering import Rendered

CLASS = values_of(
    (
        "wall", "floor", "ceiling", "furniture", "window", "picture", "table", "chair", "sofa", "bed",
        "furniture", "objects", "objects",
    ),
    NYU_CLASSES,
    range(len(NYU_CLASSES)),
    "int64",
)  # fmt: skip


def write_nyuv2_mtan(
    root: Path | str, *, train: int, val: int, size: tuple[int, int] = (288, 384), seed: int = 0
) -> None:
    """Write rooms in the layout of MTAN's NYUv2, as float32. Edges are -1 in class maps.

    Args:
        root: the folder to write; it must be empty or absent.
        train: number of training images.
        val: number of validation images.
        size: height and width.
        seed: of the scenes.
    """
    target = empty_folder(root)
    counts: Mapping[Split, int] = {"train": train, "val": val}
    for split, count in counts.items():
        for folder in ("image", "label", "depth", "normal"):
            (target / split / folder).mkdir(parents=True)
        write_split(target, split, [size] * count, seed, _writer(target / split))


def _writer(root: Path) -> Writer:
    def write(index: int, room: Rendered) -> None:
        contents = {
            "image": room.image.transpose(1, 2, 0) / 255,
            "label": np.where(room.edge != 0, -1, CLASS[room.semseg]),
            "depth": room.depth[..., None],
            "normal": room.normals.transpose(1, 2, 0),
        }
        for folder, values in contents.items():
            save(root / folder / f"{index}.npy", np.ascontiguousarray(values, dtype=np.float32))

    return write
