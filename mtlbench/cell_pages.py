"""What a page about each cell shows, read from the run folders when a report asks for it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mtlbench.folder import Failure, Result, RunFolder
from mtlbench.spec import Cell

if TYPE_CHECKING:
    from mtlbench.store import CellRecord, Runs

MANY = 1000
"""Up to so many cells all are shown in full; of each of more, there is less."""
FULL = 1000
"""Finished cells that are shown at all but in the list: of more a page would hold tens of megabytes."""
POINTS, FEWEST_POINTS = 60, 8
"""Lines of a history that are kept, evenly spaced, the first and last one among them."""
LOG_LINES, LOG_CHARACTERS, FEWEST_CHARACTERS = 40, 4000, 600
"""Of the end of a log."""


@dataclass(frozen=True)
class CellPage:
    """One cell.

    Attributes:
        row: the first of `Results.rows` that holds it, -1 where it only comes before others.
        seconds: of its training, None where it is not done.
        brief: whether it is done, but one of too many: all below is left out.
        cell: None where nothing but its id is known, because it never began.
        log: its end.
        history: some lines of `history.jsonl`.
        evaluations: some lines of `evaluations.jsonl`: step, and scores by task.
        plugins: files that hold plugins of its grid.
    """

    id: str
    row: int
    seed: int
    state: str
    seconds: float | None = None
    brief: bool = False
    cell: Cell | None = None
    result: Result | None = None
    failure: Failure | None = None
    log: str = ""
    history: tuple[dict[str, Any], ...] = ()
    evaluations: tuple[dict[str, Any], ...] = ()
    plugins: tuple[str, ...] = ()


@dataclass(frozen=True)
class RowSpec:
    """What a row stands for: its cells under the first seed, and all seeds."""

    cells: tuple[Cell, ...]
    seeds: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class CellPages:
    """The pages of a grid's cells, none of which is read before it is asked for.

    Attributes:
        runs: None: there are no folders to read.
        rows: records of the grid (`mtlbench.plan.Row.record`).
        records: of the store, by id.
    """

    runs: Runs | None = None
    rows: list[dict[str, Any]] = field(default_factory=list)
    records: Mapping[str, CellRecord] = field(default_factory=dict)

    def __iter__(self) -> Iterator[CellPage]:
        """In the order of the rows, each cell once; what only comes before others, last."""
        if self.runs is None:
            return
        share = min(1.0, MANY / max(1, len(self._places)))
        points = max(FEWEST_POINTS, round(POINTS * share))
        characters = max(FEWEST_CHARACTERS, round(LOG_CHARACTERS * share))
        done = 0
        for id, (row, seed) in self._places.items():
            record = self.records.get(id)
            done += record is not None and record.state == "done"
            if record is None:
                yield CellPage(id, row, seed, "new")
            elif record.state == "done" and done > FULL:
                yield CellPage(id, row, seed, "done", record.train_seconds, brief=True)
            else:
                yield _page(record, row, seed, self.runs.folder(id), points, characters)

    def specs(self) -> dict[int, RowSpec]:
        """Row -> what it stands for; rows that were skipped have none."""
        found = {}
        for i, row in enumerate(self.rows):
            cells = tuple(map(Cell.model_validate, row.get("specs", ())))
            if cells and row["cells"]:
                found[i] = RowSpec(cells, tuple(map(int, row["cells"])))
        return found

    def plugins(self) -> tuple[str, ...]:
        """Files that hold plugins of the grid: those of the first cell that has begun."""
        begun = next((id for id in self._places if id in self.records), None)
        if self.runs is None or begun is None:
            return ()
        return _plugins(self.runs.folder(begun).job)

    @cached_property
    def _places(self) -> dict[str, tuple[int, int]]:
        """Cell -> row and seed."""
        places: dict[str, tuple[int, int]] = {}
        for i, row in enumerate(self.rows):
            for seed, ids in row["cells"].items():
                for id in ids:
                    places.setdefault(id, (i, int(seed)))
        staged = (row["cells"].values() for row in self.rows if _starts_from_others(row))
        later = [id for found in staged for ids in found for id in ids if id in self.records]
        for id in later:
            for before in Cell.model_validate_json(self.records[id].cell_json).lineage[:-1]:
                places.setdefault(before.id, (-1, before.seed))
        return places


def _starts_from_others(row: Mapping[str, Any]) -> bool:
    return len(row["stages"]) > 1 or any(spec.get("joins") for spec in row.get("specs", ()))


def thinned(lines: Iterable[str], points: int) -> tuple[dict[str, Any], ...]:
    """Evenly spaced lines of JSON, parsed; what is no whole line is left out."""
    whole = [line for line in lines if line.endswith("\n")]
    if len(whole) > points:
        last = len(whole) - 1
        whole = [whole[round(i * last / (points - 1))] for i in range(points)]
    found = []
    for line in whole:
        try:
            found.append(json.loads(line))
        except ValueError:  # a machine went down in its midst
            continue
    return tuple(found)


def _page(
    record: CellRecord, row: int, seed: int, folder: RunFolder, points: int, characters: int
) -> CellPage:
    return CellPage(
        id=record.id,
        row=row,
        seed=seed,
        state=record.state,
        seconds=record.train_seconds,
        cell=Cell.model_validate_json(record.cell_json),
        result=record.result,
        failure=record.failure,
        log=folder.log_end(LOG_LINES)[-characters:],
        history=_lines(folder.history, points),
        evaluations=_lines(folder.evaluations, points),
        plugins=_plugins(folder.job),
    )


def _lines(file: Path, points: int) -> tuple[dict[str, Any], ...]:
    if not file.exists():
        return ()
    with file.open(encoding="utf-8", errors="replace") as lines:
        return thinned(lines, points)


def _plugins(job: Path) -> tuple[str, ...]:
    try:
        return tuple(json.loads(job.read_bytes())["plugins"])
    except (OSError, ValueError, KeyError, TypeError):  # written without haste: may be empty after a crash
        return ()
