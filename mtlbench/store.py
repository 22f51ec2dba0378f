"""The store: run folders, which are the truth, and an index over them, which is made from them at any time.

Only drivers write to it. Reports and `load` read nothing else, except curves and pictures, whose folders it
knows.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import select
from sqlalchemy.orm import Session

from mtlbench import indexing
from mtlbench.errors import MtlbenchError
from mtlbench.files import is_damaged, set_aside, write_atomically
from mtlbench.folder import RunFolder, read_result
from mtlbench.index import CellRecord, Index, IndexDamaged, IndexUnavailable, RunsRecord
from mtlbench.spec import Cell
from mtlbench.summaries import Found, Summary, survey

T = TypeVar("T")
RETRY_SECONDS = 10.0
"""Between two tries to write to an index that can't be written."""

log = logging.getLogger(__name__)


class Runs:
    """A folder of runs: `cells/ID/` (truth), `grids/NAME.json` (truth), `index.db` (index), `reports/NAME/`.

    Args:
        root: the folder; made when something is written.
        url: of the index; default a SQLite file in the folder. One database may serve many folders.

    Raises:
        MtlbenchError: no database is meant by `url`.
    """

    def __init__(self, root: Path, url: str | None = None) -> None:
        self.root = root
        self._index = Index(url or f"sqlite:///{root / 'index.db'}")
        self._id: str | None = None
        self._pending: dict[str, None] = {}
        self._failed_at: float | None = None

    @property
    def id(self) -> str:
        """Tells folders of runs in one database apart, wherever they are mounted; kept in the folder."""
        if self._id is None:
            self._id = _identity(self.root / "identity")
        return self._id

    def folder(self, cell: Cell | str) -> RunFolder:
        return RunFolder(self._cells / (cell if isinstance(cell, str) else cell.id))

    def reports(self, grid: str) -> Path:
        return self.root / "reports" / grid

    def save_grid(
        self,
        name: str,
        rows: list[dict[str, Any]],
        published: str | Iterable[str] = (),
        report: dict[str, Any] | None = None,
    ) -> None:
        """Remember a grid's rows, its published tables and how its report looks."""
        named = [published] if isinstance(published, str) else list(published)
        content = {"name": name, "rows": rows, "published": named, "report": report or {}}
        write_atomically(self._grid_file(name), json.dumps(content, indent=1))

    def grids(self) -> dict[str, list[dict[str, Any]]]:
        """Grid name -> rows.

        Raises:
            MtlbenchError: there are no runs here.
        """
        self._check_there()
        found = {}
        for file in sorted((self.root / "grids").glob("*.json")):
            try:
                content = json.loads(file.read_bytes())
            except ValueError:
                log.warning("%s is damaged: running its grid again writes it anew", file)
            else:
                found[content["name"]] = content["rows"]
        return found

    def report_keys(self, grid: str) -> dict[str, Any]:
        """What a grid says of its report: `published` and `report`, as far as they were stored."""
        file = self._grid_file(grid)
        if not file.is_file():
            return {}
        content = json.loads(file.read_bytes())
        return {key: content[key] for key in ("published", "report") if key in content}

    def cells(self) -> dict[str, CellRecord]:
        """All cells, from the index, which is brought up to date first; what it lacks, from the folders.

        Raises:
            MtlbenchError: there are no runs here.
        """
        self._check_there()
        there = self.refresh()
        query = select(CellRecord).where(CellRecord.runs == self.id).order_by(CellRecord.id)
        try:
            records = self.transact(lambda session: list(session.scalars(query)), write=False)
        except IndexUnavailable:  # `refresh` has said so
            records = []
        found = {record.id: record for record in records if record.id in there and _is_whole(record)}
        rows = self._read(cell for cell in there if cell not in found or cell in self._pending)
        return found | {row["id"]: indexing.as_record(row) for row in rows}

    def summaries(self, ids: Iterable[str] | None = None) -> dict[str, Summary]:
        """The states of cells (None: of all), with what plans need of their results; changes nothing."""
        return {cell: found.summary for cell, found in self._survey(ids).items()}

    def peek(self) -> dict[str, Summary]:
        """As `summaries` of all, but makes nothing that is not there, neither a file nor a table."""
        records = {}
        if (self.root / "identity").exists() and self._index.is_there():
            with suppress(IndexUnavailable, IndexDamaged):  # the folders tell the same
                records = self._index.transact(
                    lambda session: indexing.records(session, self.id, None), write=False, make=False
                )
        return {cell: found.summary for cell, found in survey(self._cells, None, records).items()}

    def refresh(self, ids: Iterable[str] | None = None) -> dict[str, Summary]:
        """The same, after folders and index have been brought to agree.

        Results that are damaged or missing in a folder are restored from the index, cells whose folder is
        gone are forgotten, and what has changed is indexed.
        """
        found = self._survey(ids)
        healed = self._heal(found)
        gone = [cell for cell, state in found.items() if not state.exists and not state.indexed]
        if gone:
            with suppress(IndexUnavailable):  # they are found again next time
                self.transact(lambda session: indexing.forget(session, self.id, gone), write=True)
        changed = [cell for cell, state in found.items() if state.exists and not state.indexed]
        self.index([*changed, *healed])
        summaries = {cell: state.summary for cell, state in found.items()}
        return summaries | self.summaries(healed)

    def heal(self, ids: Iterable[str] | None = None) -> list[str]:
        """Restore results that are damaged or missing in a folder from the index; returns the cells."""
        healed = self._heal(self._survey(ids))
        self.index(healed)
        return healed

    def index(self, cells: Iterable[str]) -> None:
        """Take in the present state of these cells' folders.

        Where the index can't be written, a warning is logged, and the cells are taken in with a later call.
        """
        self._pending |= dict.fromkeys(cells)
        now = time.monotonic()
        if self._pending and (self._failed_at is None or now - self._failed_at > RETRY_SECONDS):
            self._write_pending()

    def flush(self) -> set[str]:
        """Try now to take in what could not be so far; returns the cells that still can't."""
        if self._pending:
            self._write_pending()
        return set(self._pending)

    def reindex(self) -> int:
        """Build the index anew from the folders; returns the number of cells.

        Raises:
            MtlbenchError: the index can't be written.
        """
        return self._mending(self._take_in_all)

    def supersede(self, cell: str) -> Path:
        """Put a cell's folder aside, under the time of this moment, so that the cell can run anew.

        Raises:
            MtlbenchError: the index can't be written, from which the old result would come back.
        """
        self.transact(lambda session: indexing.forget(session, self.id, [cell]), write=True)
        place = self.root / "superseded" / f"{cell}.{datetime.now():%Y%m%d-%H%M%S}"
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(self.folder(cell).path, place)
        return place

    def transact(self, work: Callable[[Session], T], *, write: bool) -> T:
        """What `work` returns, in one transaction; an index that is damaged or new is built first.

        Raises:
            IndexUnavailable: the index can't be used now.
        """

        def attempt() -> T:
            if not self._index.transact(lambda session: indexing.known(session, self.id), write=False):
                if any(self._cells.glob("*/job.json")):
                    log.info("building the index of %s from its run folders", self.root)
                self._take_in_all()
            return self._index.transact(work, write=write)

        return self._mending(attempt)

    @property
    def _cells(self) -> Path:
        return self.root / "cells"

    def _grid_file(self, name: str) -> Path:
        return self.root / "grids" / f"{name}.json"

    def _check_there(self) -> None:
        if not self._cells.is_dir() and not (self.root / "grids").is_dir():
            raise MtlbenchError(f"no runs in {self.root}: it has no folder `cells`")

    def _survey(self, ids: Iterable[str] | None) -> dict[str, Found]:
        chosen = None if ids is None else list(ids)
        if not self._cells.is_dir():
            return survey(self._cells, chosen, {})
        try:
            records = self.transact(lambda session: indexing.records(session, self.id, chosen), write=False)
        except IndexUnavailable as error:
            log.warning("reading the folders alone: %s", error)
            records = {}
        return survey(self._cells, chosen, records)

    def _heal(self, found: dict[str, Found]) -> list[str]:
        chosen = [cell for cell, state in found.items() if state.restorable]
        if not chosen:
            return []
        try:
            copies = self.transact(lambda session: indexing.copies(session, self.id, chosen), write=False)
        except IndexUnavailable as error:
            log.warning("results can't be restored now: %s", error)
            return []
        return self._restore(copies)

    def _restore(self, copies: dict[str, str]) -> list[str]:
        """Write results back where they are damaged or missing, and nobody works on the cell."""
        return [cell for cell, text in copies.items() if _restore(self.folder(cell), text)]

    def _write_pending(self) -> None:
        failed_before = self._failed_at is not None
        try:
            for batch in indexing.batches(self._pending):
                self._write(batch)
                self._pending = {cell: None for cell in self._pending if cell not in set(batch)}
        except IndexUnavailable as error:
            self._failed_at = time.monotonic()
            if not failed_before:
                log.warning("%s; cells run on, and are indexed later", error)
        else:
            self._failed_at = None
            if failed_before:
                log.info("the index is up to date again")

    def _write(self, cells: list[str]) -> None:
        rows = self._read(cells)
        self.transact(lambda session: indexing.write_rows(session, rows), write=True)

    def _take_in_all(self) -> int:
        transact = self._index.transact
        records = transact(lambda session: indexing.records(session, self.id, None), write=False)
        known = survey(self._cells, records, records)
        lost = [cell for cell, state in known.items() if state.restorable]
        self._restore(transact(lambda session: indexing.copies(session, self.id, lost), write=False))
        cells, count = sorted(os.listdir(self._cells)) if self._cells.is_dir() else [], 0
        for batch in indexing.batches(cells):
            rows = self._read(batch)
            transact(lambda session, rows=rows: indexing.write_rows(session, rows), write=True)  # type: ignore[misc]
            count += len(rows)

        def conclude(session: Session) -> None:
            indexing.forget(session, self.id, set(records) - set(cells))
            session.merge(RunsRecord(id=self.id, path=str(self.root.absolute())))

        transact(conclude, write=True)
        return count

    def _read(self, cells: Iterable[str]) -> list[dict[str, Any]]:
        rows = (indexing.read_row(self.id, self._cells / cell) for cell in cells)
        return [row for row in rows if row is not None]

    def _mending(self, work: Callable[[], T]) -> T:
        """Once more with a new index, where this one is damaged."""
        try:
            return work()
        except IndexDamaged as damage:
            log.warning("the index %s is damaged (%s): building it anew", self._index, damage)
            old = self._index.set_damaged_aside()
            if old is not None:
                self._restore(indexing.salvage(old))
        try:
            return work()
        except IndexDamaged as damage:
            raise IndexUnavailable(f"the index {self._index} can't be used: {damage}") from damage


def _is_whole(record: CellRecord) -> bool:
    return record.result_json is None or not is_damaged(record.result_json.encode())


def _restore(folder: RunFolder, text: str) -> bool:
    """Write a result's file as it was, where there is none that is whole, and nobody works on the cell."""
    if read_result(text.encode()) is None or not folder.path.is_dir():
        return False
    try:
        with folder.lock() as free:
            if not free or folder.result() is not None:
                return False
            folder.tidy()
            folder.restore(text)
    except OSError as error:
        log.warning("the result of %s can't be restored: %s", folder.path, error)
        return False
    log.warning("%s had lost its result: restored from the index", folder.path)
    return True


def _identity(file: Path) -> str:
    """The name in a file, which the first of all processes that ask makes up."""
    while True:
        try:
            text = file.read_text(encoding="utf-8", errors="replace").strip()
        except FileNotFoundError:
            mine = file.with_name(f".{file.name}.{uuid.uuid4().hex}")
            write_atomically(mine, uuid.uuid4().hex)
            try:
                os.link(mine, file)
            except FileExistsError:
                pass
            except OSError:  # a file system without links
                os.replace(mine, file)
            mine.unlink(missing_ok=True)
        else:
            if re.fullmatch("[0-9a-f]{32}", text):
                return text
            set_aside(file)
