"""What is known about many cells: from the index where a folder is as it was, else from the folder."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from mtlbench.folder import Failure, FailureKind, Result, RunFolder, State, read_failure, read_result

COLUMNS = (
    "id",
    "state",
    "mtime_ns",
    "size",
    "fingerprints",
    "iterations",
    "train_seconds",
    "evaluate_seconds",
    "peak_memory_mb",
    "hardware",
)
"""Of `CellRecord`, in the order in which its checksum takes them."""


Record = tuple[tuple[Any, ...], int, bool]
"""Values of `COLUMNS`, their checksum, and whether the index has a copy of the result."""


class Summary(NamedTuple):
    """A cell's state and what plans need of its result, which is None where there is none.

    Attributes:
        iterations: steps of its training, which took `train_seconds`.
        hardware: the GPU, or else the CPU.
    """

    state: State
    failure_kind: FailureKind | None = None
    failure_message: str | None = None
    fingerprints: dict[str, str] | None = None
    iterations: int | None = None
    train_seconds: float | None = None
    evaluate_seconds: float | None = None
    peak_memory_mb: float | None = None
    hardware: str | None = None

    @property
    def reason(self) -> str:
        """Why it failed or was pruned; empty where it was not."""
        ended = self.state in ("failed", "pruned")
        return f"{self.failure_kind}: {self.failure_message}" if ended else ""


class Found(NamedTuple):
    """A cell's summary, and how it was found.

    Attributes:
        exists: whether it has a folder.
        indexed: whether the index says the same.
        restorable: it is not done, but the index has a copy of its result.
    """

    summary: Summary
    exists: bool = True
    indexed: bool = True
    restorable: bool = False


NEW = Summary("new")
_NOWHERE = Found(NEW, exists=False)


@dataclass(frozen=True, slots=True)
class Look:
    """A cell's folder at one moment."""

    state: State
    mtime_ns: int | None = None
    size: int | None = None
    result: Result | None = None
    failure: Failure | None = None
    text: str | None = None
    """Of the file that says so."""

    def columns(self) -> dict[str, Any]:
        """Those of `COLUMNS` but the id."""
        columns: dict[str, Any] = dict.fromkeys(COLUMNS[1:])
        columns |= {"state": self.state, "mtime_ns": self.mtime_ns, "size": self.size}
        if self.result is not None:
            made, costs, recipe = self.result.provenance, self.result.costs, self.result.cell.recipe
            columns |= {
                "fingerprints": json.dumps(self.result.fingerprints, sort_keys=True),
                "iterations": recipe.steps(self.result.images["train"]),
                "train_seconds": costs.train_seconds,
                "evaluate_seconds": costs.evaluate_seconds,
                "peak_memory_mb": costs.peak_memory_mb,
                "hardware": made.get("gpu") or made.get("cpu"),
            }
        return columns


def look(path: str) -> Look:
    """Read a cell's folder, opening as few files as possible."""
    names = os.listdir(path)
    if "result.json" in names:
        data, status = _read(f"{path}/result.json")
        if (result := read_result(data)) is not None:
            return Look("done", status.st_mtime_ns, status.st_size, result, text=data.decode())
    folder = RunFolder(Path(path))
    if "lock" in names and folder.locked():
        return Look("running")
    if "failure.json" in names:
        data, status = _read(f"{path}/failure.json")
        if (failure := read_failure(data)) is not None:
            return Look(
                failure.state, status.st_mtime_ns, status.st_size, failure=failure, text=data.decode()
            )
    return Look("interrupted" if "checkpoint" in names and folder.checkpoint.exists() else "new")


def survey(place: Path, ids: Iterable[str] | None, records: dict[str, Record]) -> dict[str, Found]:
    """The present state of cells.

    Args:
        place: the folder of cells' folders.
        ids: of the cells; None: of all there are, in the index or as a folder.
        records: of the index, by id.
    """
    there = set(os.listdir(place)) if place.is_dir() else set()
    chosen = dict.fromkeys(sorted(there | set(records)) if ids is None else ids)
    return {cell: _find(f"{place}/{cell}", records.get(cell), cell in there) for cell in chosen}


def checksum(columns: tuple[Any, ...]) -> int:
    return zlib.crc32(repr(columns).encode())


def _find(path: str, record: Record | None, exists: bool) -> Found:
    if not exists:
        return _NOWHERE if record is None else Found(NEW, exists=False, indexed=False)
    if record is not None and _holds(path, *record[:2]):
        return Found(_of_columns(record[0]))
    try:
        seen = look(path)
    except (FileNotFoundError, NotADirectoryError):
        return _NOWHERE
    columns = (os.path.basename(path), *seen.columns().values())
    indexed = record is not None and (columns, checksum(columns)) == record[:2]
    restorable = record is not None and record[2] and seen.result is None
    summary = _of_columns(columns)
    if seen.failure is not None:
        summary = Summary(seen.failure.state, seen.failure.kind, seen.failure.message)
    return Found(summary, indexed=indexed, restorable=restorable)


def _holds(path: str, columns: tuple[Any, ...], check: int) -> bool:
    """Whether a cell is done with the very file that the index knows."""
    if columns[1] != "done" or checksum(columns) != check:
        return False
    try:
        status = os.stat(f"{path}/result.json")
    except OSError:
        return False
    return (status.st_mtime_ns, status.st_size) == columns[2:4]


def _of_columns(columns: tuple[Any, ...]) -> Summary:
    _, state, _, _, fingerprints, *rest = columns
    return Summary(state, None, None, None if fingerprints is None else _load(fingerprints), *rest)


@lru_cache(maxsize=4096)
def _load(text: str) -> dict[str, str]:
    """Most cells have the fingerprints of many others: one object for all of them."""
    found: dict[str, str] = json.loads(text)
    return found


def _read(path: str) -> tuple[bytes, os.stat_result]:
    with open(path, "rb") as file:
        return file.read(), os.fstat(file.fileno())
