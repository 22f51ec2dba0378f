"""Body parts of persons from the .mat files of PASCAL-Part."""

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from mtlbench.errors import DataError
from mtlbench.reading import load_mat

from . import files
from .pascal_classes import PART_OF, PERSON

log = logging.getLogger(__name__)

CATEGORY, MASK, PARTS = 1, 2, 3
"""Positions of an object's fields in the files."""


def read_parts(path: Path, size: files.Size) -> np.ndarray:
    """The body parts of all persons, (H, W) uint8 of the classes `pascal_classes.PARTS`; later parts win.

    All 0 where the image shows no person with parts.

    Raises:
        DataError: the file is damaged, names an unknown part, or a mask has another size.
    """
    classes = np.zeros(size, np.uint8)
    with _built_as_expected(path):
        for record in _objects(path):
            if _category(record) == PERSON and len(record[PARTS]) > 0:
                for part in record[PARTS][0]:
                    _paint(classes, str(part[0][0]), part[1], path)
    return classes


def _paint(classes: np.ndarray, name: str, mask: np.ndarray, path: Path) -> None:
    if name not in PART_OF:
        raise DataError(f"{path} must name parts of PASCAL-Part, found {name!r} on a person")
    if mask.shape != classes.shape:
        raise DataError(
            f"{path} must hold masks of the image's size, {classes.shape}, found {mask.shape} for {name!r}"
        )
    classes[mask.astype(bool, copy=False)] = PART_OF[name]


def ids_with_people(root: Path, ids: Sequence[str]) -> list[str]:
    """The images that show a person, in order.

    Uses the lists that published loaders leave in `ImageSets/Parts/`, where they name all these images; else
    every file is read, once in a process.

    Raises:
        DataError: no image shows one.
    """
    kept = list(_with_people(root, tuple(ids)))
    if not kept:
        raise DataError(f"{root / 'human_parts'} must hold a person in some image, found none")
    return kept


@lru_cache(maxsize=4)
def _with_people(root: Path, ids: tuple[str, ...]) -> tuple[str, ...]:
    for path in sorted((root / "ImageSets" / "Parts").glob("*.txt")):
        try:
            categories = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            log.warning("%s is not used, since it can't be read as JSON: %s", path, error)
            continue
        if isinstance(categories, dict) and categories.keys() >= set(ids):
            return tuple(name for name in ids if PERSON in categories[name])
    log.info("looking for persons in %d files of %s", len(ids), root / "human_parts")
    return tuple(name for name in ids if _shows_person(root / "human_parts" / f"{name}.mat"))


def _shows_person(path: Path) -> bool:
    with _built_as_expected(path):
        return any(_category(record) == PERSON and record[MASK].any() for record in _objects(path))


def _objects(path: Path) -> np.ndarray:
    """The objects of `anno`, where published code finds them."""
    objects: np.ndarray = load_mat(path, "anno")[0][0][1][0]
    return objects


def _category(record: Any) -> int:
    return int(record[CATEGORY][0][0])


@contextmanager
def _built_as_expected(path: Path) -> Iterator[None]:
    """Missing fields are the file's fault."""
    try:
        yield
    except (IndexError, TypeError, KeyError, AttributeError, ValueError) as error:
        raise DataError(
            f"{path} must hold `anno` as PASCAL-Part builds it: `objects` with `class`, `class_ind`, `mask`"
            f" and `parts`; reading it so gave {type(error).__name__}: {error}"
        ) from error
