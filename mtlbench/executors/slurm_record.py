"""Which cells Slurm has: noted beside the jobs' files, for a driver that comes after this one."""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Handed:
    """A cell in Slurm's hands.

    Attributes:
        place: the folder of the job's files.
    """

    cell: str
    job_id: str
    place: Path


class Record:
    """`handed.jsonl` in a folder of this driver's own: job ids of one cluster may come again after years.

    What can't be written, on a full disk, is not known to the next driver, which submits the cell again.
    """

    def __init__(self, folder: Path) -> None:
        self.place = folder / f"{datetime.now():%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:6]}"
        self._file = self.place / "handed.jsonl"

    def hand(self, handed: Handed) -> None:
        self._write({"cell": handed.cell, "job_id": handed.job_id, "place": str(handed.place)})

    def finish(self, handed: Handed) -> None:
        self._write({"cell": handed.cell, "job_id": None})

    def _write(self, line: dict[str, str | None]) -> None:
        try:
            self.place.mkdir(parents=True, exist_ok=True)
            with self._file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            log.warning("%s can't be written: %s", self._file, error)


def left_behind(folder: Path) -> dict[str, Handed]:
    """Cell -> the job that an earlier driver handed to Slurm and whose end it has not seen."""
    found: dict[str, Handed] = {}
    for file in sorted(folder.glob("*/handed.jsonl")):  # named by time: the last word counts
        for line in _lines(file):
            if line["job_id"] is None:
                found.pop(line["cell"], None)
            else:
                found[line["cell"]] = Handed(line["cell"], line["job_id"], Path(line["place"]))
    return found


def _lines(file: Path) -> Iterator[dict[str, str]]:
    for text in file.read_text(encoding="utf-8").splitlines():
        try:
            yield json.loads(text)
        except ValueError:  # cut off with its driver
            continue
