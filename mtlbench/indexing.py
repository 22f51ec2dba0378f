"""What the store reads from its tables and writes to them, for the cells of one folder of runs."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import delete, func, insert, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from mtlbench.folder import Result, RunFolder
from mtlbench.index import CellRecord, RunsRecord, ScoreRecord
from mtlbench.summaries import COLUMNS, Record, checksum, look

BATCH = 500
"""Cells of one statement or transaction."""


def batches(items: Iterable[str]) -> Iterator[list[str]]:
    chosen = list(items)
    for start in range(0, len(chosen), BATCH):
        yield chosen[start : start + BATCH]


def records(session: Session, runs: str, ids: list[str] | None) -> dict[str, Record]:
    """What plans need to know, of all cells or of a few."""
    table = CellRecord.__table__
    query = select(*(table.c[name] for name in (*COLUMNS, "check")), table.c.result_json.is_not(None))
    query = query.where(table.c.runs == runs)
    if ids is not None and len(ids) <= BATCH:
        query = query.where(table.c.id.in_(ids))
    rows = session.connection().execute(query)  # not through the session: it takes as long again
    return {row[0]: (tuple(row[:-2]), row[-2], row[-1]) for row in rows}


def copies(session: Session, runs: str, ids: list[str]) -> dict[str, str]:
    """The results of cells, as their files held them."""
    found: dict[str, str] = {}
    for batch in batches(ids):
        query = select(CellRecord.id, CellRecord.result_json)
        query = query.where(CellRecord.runs == runs, CellRecord.id.in_(batch))
        found |= {cell: text for cell, text in session.execute(query) if text is not None}
    return found


def read_row(runs: str, path: Path) -> dict[str, Any] | None:
    """A cell's folder as a row of `CellRecord`, with its `result`; None where there is no cell."""
    try:
        seen = look(str(path))
    except OSError:
        return None
    cell = seen.result.cell.model_dump_json() if seen.result else _cell_of_job(RunFolder(path).job)
    if cell is None:
        return None
    columns = seen.columns()
    return {
        "runs": runs,
        "id": path.name,
        **columns,
        "check": checksum((path.name, *columns.values())),
        "cell_json": cell,
        "result_json": seen.text if seen.result else None,
        "failure_json": seen.text if seen.failure else None,
        "result": seen.result,
    }


def as_record(row: dict[str, Any]) -> CellRecord:
    return CellRecord(**{name: value for name, value in row.items() if name != "result"})


def write_rows(session: Session, rows: list[dict[str, Any]]) -> None:
    """Take in cells of one folder of runs; a copy of a result stays where the folder has none any more."""
    if not rows:
        return
    results = [(row["id"], row.pop("result")) for row in rows]
    runs, ids = rows[0]["runs"], [row["id"] for row in rows]
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    table = CellRecord.__table__
    statement = dialect.insert(table)
    new = {name: statement.excluded[name] for name in rows[0] if name not in ("runs", "id")}
    new["result_json"] = func.coalesce(statement.excluded.result_json, table.c.result_json)
    session.execute(statement.on_conflict_do_update(index_elements=["runs", "id"], set_=new), rows)
    _delete_scores(session, runs, ids)
    scores = [score for cell, result in results if result for score in _scores(runs, cell, result)]
    if scores:
        session.execute(insert(ScoreRecord), scores)


def forget(session: Session, runs: str, ids: Iterable[str]) -> None:
    for batch in batches(ids):
        _delete_scores(session, runs, batch)
        session.execute(delete(CellRecord).where(CellRecord.runs == runs, CellRecord.id.in_(batch)))


def salvage(file: Path) -> dict[str, str]:
    """Copies of results that can still be read from a damaged SQLite index, by the ids of their cells."""
    found: dict[str, str] = {}
    query = f"SELECT id, result_json FROM {CellRecord.__tablename__} WHERE result_json IS NOT NULL"
    with (
        suppress(sqlite3.Error),
        closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as old,
    ):
        old.text_factory = bytes
        for cell, text in old.execute(query):
            with suppress(UnicodeDecodeError):
                found[cell.decode()] = text.decode()
    return found


def known(session: Session, runs: str) -> bool:
    return session.get(RunsRecord, runs) is not None


def _delete_scores(session: Session, runs: str, ids: list[str]) -> None:
    session.execute(delete(ScoreRecord).where(ScoreRecord.runs == runs, ScoreRecord.cell.in_(ids)))


def _scores(runs: str, cell: str, result: Result) -> Iterator[dict[str, Any]]:
    for task, metrics in result.scores.items():
        for metric, value in metrics.items():
            known = value if value == value else None  # SQL has no NaN
            yield {
                "runs": runs,
                "cell": cell,
                "task": task,
                "metric": metric,
                "value": known,
                "primary": metric == result.tasks[task].metric,
            }


def _cell_of_job(file: Path) -> str | None:
    try:
        return json.dumps(json.loads(file.read_bytes())["cell"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
