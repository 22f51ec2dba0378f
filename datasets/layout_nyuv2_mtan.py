"""Rooms in the layout of MTAN's NYUv2."""

from pathlib import Path

from .layout_files import empty_folder, values_of, without_edges, write_stacks
from .mtan import NYU_CLASSES

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
    contents = {
        "image": lambda room: room.image.transpose(1, 2, 0) / 255,
        "label": without_edges(CLASS),
        "depth": lambda room: room.depth[..., None],
        "normal": lambda room: room.normals.transpose(1, 2, 0),
    }
    write_stacks(empty_folder(root), {"train": train, "val": val}, size, seed, contents)
