"""Rooms in the layout of PASCAL-Context, with persons as PASCAL-Part has them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import savemat

from mtlbench.data import Split

from .layout_files import Writer, coded, empty_folder, save, values_of, write_ids, write_split
from .pascal_classes import CLASSES, PERSON
from .rendering import Rendered
from .rendering.vocabulary import Semantic

SEMSEG = values_of(
    ("background",) * 6 + ("table", "chair", "sofa") + ("background",) * 3 + ("person",),
    CLASSES,
    range(len(CLASSES)),
    "uint8",
)
LABEL_MAP = np.array([440, 158, 68, 115, 454, 355, 397, 72, 368, 19, 46, 232, 284], np.uint16)
"""Wall, floor, ceiling, door, window, sign (for pictures), table, chair, sofa, bedclothes (which have no
normals), cabinet, light, person.
"""
PART_NAMES = ("head", "torso", "luarm", "llarm", "luleg", "llleg")
"""One of PASCAL-Part's names for each body part of rooms; left stands for both sides."""
WITHOUT_PARTS = 4
"""Of the images that show persons, each fourth has no parts of them."""
FOLDERS = (
    "JPEGImages",
    "pascal-context/trainval",
    "semseg/VOC12",
    "semseg/pascal-context",
    "human_parts",
    "normals_distill",
    "sal_distill",
    "ImageSets/Parts",
)


def write_pascal_context(
    root: Path | str, *, train: int, val: int, size: tuple[int, int] = (375, 500), seed: int = 0
) -> None:
    """Write rooms in the layout of PASCAL-Context.

    Images lie, stand and are square in turn. Every second `semseg` is in the folder that VOC gave, with
    "void" along edges; every fourth image has persons without parts. The y of normals points down, as the
    published rotation of normals implies.

    Args:
        root: the folder to write; it must be empty or absent.
        train: number of training images; their ids are 2008_000001 and on, then follow those of val.
        val: number of validation images.
        size: height and width of the images that lie.
        seed: of the scenes.
    """
    target = empty_folder(root)
    for folder in FOLDERS:
        (target / folder).mkdir(parents=True)
    splits: Mapping[Split, range] = {"train": range(1, train + 1), "val": range(train + 1, train + val + 1)}
    height, width = size
    shapes = (size, (width, height), (min(size), min(size)))
    for split, span in splits.items():
        ids = [f"2008_{number:06d}" for number in span]
        write_ids(target / "ImageSets" / "Context" / f"{split}.txt", ids)
        sizes = [shapes[index % len(shapes)] for index in range(len(ids))]
        write_split(target, split, sizes, seed, _writer(target, ids))


def _writer(root: Path, ids: Sequence[str]) -> Writer:
    def write(index: int, room: Rendered) -> None:
        name, classes = ids[index], SEMSEG[room.semseg]
        save(root / "JPEGImages" / f"{name}.jpg", room.image.transpose(1, 2, 0))
        save(root / "sal_distill" / f"{name}.png", room.sal * np.uint8(255))
        downwards = room.normals * np.array([1, -1, 1], np.float32)[:, None, None]
        save(root / "normals_distill" / f"{name}.png", coded(downwards))
        if index % 2 == 0:
            voc = np.where(room.edge != 0, np.uint8(255), classes)
            save(root / "semseg" / "VOC12" / f"{name}.png", voc)
        else:
            save(root / "semseg" / "pascal-context" / f"{name}.png", classes)
        _save_mat(root / "pascal-context" / "trainval" / f"{name}.mat", {"LabelMap": LABEL_MAP[room.semseg]})
        anno = annotation(name, room, with_parts=index % WITHOUT_PARTS != WITHOUT_PARTS - 1)
        _save_mat(root / "human_parts" / f"{name}.mat", {"anno": anno})

    return write


def annotation(name: str, room: Rendered, *, with_parts: bool = True) -> np.ndarray:
    """`anno` of PASCAL-Part: each table, chair, sofa and person of a room, persons with their parts."""
    objects = []
    for instance in np.unique(room.instances):
        mask = room.instances == instance
        category = int(SEMSEG[room.semseg[mask][0]])
        if category:
            parts = _parts(room, mask) if with_parts and category == PERSON else None
            objects.append(part_object(CLASSES[category], category, mask, parts))
    if not objects:  # every annotated image of VOC shows some object
        mask = room.semseg != Semantic.FLOOR
        objects.append(part_object(CLASSES[-1], len(CLASSES) - 1, mask, None))
    return _records(
        ("imname", "objects"), [(name, _records(("class", "class_ind", "mask", "parts"), objects))]
    )


def part_object(
    name: str, category: int, mask: np.ndarray, parts: Mapping[str, np.ndarray] | None
) -> tuple[Any, ...]:
    """The fields of one object; `parts` are masks by name, None an empty array."""
    found = np.zeros((0, 0)) if not parts else _records(("part_name", "mask"), list(parts.items()))
    return name, np.uint8(category), mask.astype(np.uint8), found


def _parts(room: Rendered, person: np.ndarray) -> dict[str, np.ndarray]:
    masks = {
        name: (person & (room.human_parts == part)).astype(np.uint8)
        for part, name in enumerate(PART_NAMES, start=1)
    }
    return {name: mask for name, mask in masks.items() if mask.any()}


def _records(fields: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> np.ndarray:
    """A MATLAB struct array, (1, N)."""
    records = np.empty((1, len(rows)), dtype=[(field, object) for field in fields])
    for index, row in enumerate(rows):
        records[0, index] = row
    return records


def _save_mat(path: Path, content: Mapping[str, np.ndarray]) -> None:
    savemat(path, dict(content), do_compression=True)
