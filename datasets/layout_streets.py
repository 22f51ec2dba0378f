"""Rooms in the layouts of Cityscapes and of MTAN's Cityscapes: eight times as large, and called a street."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mtlbench.data import Split

from .cityscapes import BASELINE, CLASSES, FOCAL_LENGTH, LABEL_IDS
from .layout_files import Writer, empty_folder, save, values_of, without_edges, write_split, write_stacks
from .rendering import Rendered

STREET = (
    "building", "road", "sky", "wall", "building", "traffic sign", "fence", "bicycle", "car", "bus", "truck",
    "traffic light", "person",
)  # fmt: skip
"""What stands for each class of rooms."""
LABEL_ID = values_of(STREET, CLASSES, LABEL_IDS, "uint8")
CLASS = values_of(STREET, CLASSES, range(len(CLASSES)), "int64")
GROUP = values_of(STREET, CLASSES, (0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 4, 5, 5, 6, 6, 6, 6, 6, 6), "int64")
VOID = 4
"""The label id of edges: "static", which no class has."""
ENLARGED = 8.0
"""A room of 5 m has the depth of a street of 40 m."""
UNMATCHED = 1 / 32
"""The share of columns, on the left, without disparity."""
CITIES: Mapping[Split, str] = {"train": "aachen", "val": "frankfurt"}


def write_cityscapes(
    root: Path | str, *, train: int, val: int, size: tuple[int, int] = (1024, 2048), seed: int = 0
) -> None:
    """Write rooms in the layout of Cityscapes: pictures, label ids, disparities and cameras.

    Disparities are those at 1024x2048 at every size; columns on the left have none. Edges are "static".

    Args:
        root: the folder to write; it must be empty or absent.
        train: number of training images, all in aachen.
        val: number of validation images, all in frankfurt.
        size: height and width.
        seed: of the scenes.
    """
    target = empty_folder(root)
    counts: Mapping[Split, int] = {"train": train, "val": val}
    for split, count in counts.items():
        for folder in ("leftImg8bit", "gtFine", "disparity", "camera"):
            (target / folder / split / CITIES[split]).mkdir(parents=True)
        write_split(target, split, [size] * count, seed, _writer(target, split))


def stored_disparity(depth: np.ndarray) -> np.ndarray:
    """What a file holds for a room's depth in metres (H, W), uint16."""
    disparity = BASELINE * FOCAL_LENGTH / (ENLARGED * depth)
    stored = np.rint(disparity * 256 + 1).clip(0, 65535).astype(np.uint16)
    stored[:, : max(1, int(depth.shape[1] * UNMATCHED))] = 0
    return stored


def _writer(root: Path, split: Split) -> Writer:
    city = CITIES[split]
    camera = {"extrinsic": {"baseline": BASELINE}, "intrinsic": {"fx": FOCAL_LENGTH, "fy": FOCAL_LENGTH}}

    def write(index: int, room: Rendered) -> None:
        name = f"{city}_{index // 20:06d}_{19 + index % 20:06d}"
        label_ids = np.where(room.edge != 0, np.uint8(VOID), LABEL_ID[room.semseg])
        save(root / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png", room.image.transpose(1, 2, 0))
        save(root / "gtFine" / split / city / f"{name}_gtFine_labelIds.png", label_ids)
        save(root / "disparity" / split / city / f"{name}_disparity.png", stored_disparity(room.depth))
        place = root / "camera" / split / city / f"{name}_camera.json"
        place.write_text(json.dumps(camera), encoding="utf-8")

    return write


def write_cityscapes_mtan(
    root: Path | str, *, train: int, val: int, size: tuple[int, int] = (128, 256), seed: int = 0
) -> None:
    """Write rooms in the layout of MTAN's Cityscapes.

    Up to 255 rows with the one folder `label` of 7 categories that the archive of 128x256 has, above with
    `label_7` and `label_19`. Edges are -1.

    Args:
        root: the folder to write; it must be empty or absent.
        train: number of training images.
        val: number of validation images.
        size: height and width.
        seed: of the scenes.
    """
    labels = {"label": GROUP} if size[0] < 256 else {"label_7": GROUP, "label_19": CLASS}
    contents = {
        "image": lambda room: room.image.transpose(1, 2, 0) / 255,
        "depth": lambda room: stored_disparity(room.depth)[..., None] / 65535,
        **{folder: without_edges(table) for folder, table in labels.items()},
    }
    write_stacks(empty_folder(root), {"train": train, "val": val}, size, seed, contents)
