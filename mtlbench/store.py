"""The index over run folders: one row per cell, score and grid, rebuilt from the folders at any time.

Only the driver writes to it. Reports and `load` read nothing else, except curves and pictures, whose folders
it knows.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
from sqlalchemy import JSON, Engine, ForeignKey, String, Text, create_engine, delete, event, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from mtlbench.errors import MtlbenchError
from mtlbench.folder import Failure, Result, RunFolder, write_atomically
from mtlbench.spec import Cell

log = logging.getLogger(__name__)


class _Base(DeclarativeBase):
    pass


class CellRecord(_Base):
    """A cell as its folder was when last indexed; files as text, since not every JSON type takes NaN."""

    __tablename__ = "cells"

    id: Mapped[str] = mapped_column(String(200), primary_key=True)
    state: Mapped[str] = mapped_column(String(20))
    cell_json: Mapped[str] = mapped_column(Text)
    result_json: Mapped[str | None] = mapped_column(Text)
    failure_json: Mapped[str | None] = mapped_column(Text)

    @property
    def result(self) -> Result | None:
        return Result.model_validate_json(self.result_json) if self.result_json else None

    @property
    def failure(self) -> Failure | None:
        return Failure.model_validate_json(self.failure_json) if self.failure_json else None


class ScoreRecord(_Base):
    """One number."""

    __tablename__ = "scores"

    cell: Mapped[str] = mapped_column(ForeignKey("cells.id"), primary_key=True)
    task: Mapped[str] = mapped_column(String(100), primary_key=True)
    metric: Mapped[str] = mapped_column(String(100), primary_key=True)
    value: Mapped[float | None]
    primary: Mapped[bool]


class GridRecord(_Base):
    """The rows of a grid, as `mtlbench.plan.Row.record` makes them."""

    __tablename__ = "grids"

    name: Mapped[str] = mapped_column(String(200), primary_key=True)
    content: Mapped[dict[str, Any]] = mapped_column(JSON)


class Runs:
    """A folder of runs: `cells/ID/` (truth), `grids/NAME.json` (truth), `index.db` (index), `reports/NAME/`.

    Args:
        root: the folder; made when something is written.
        url: of the index; default a SQLite file in the folder.
    """

    def __init__(self, root: Path, url: str | None = None) -> None:
        self.root = root
        self.url = url or f"sqlite:///{root / 'index.db'}"
        self._engine: Engine | None = None

    def folder(self, cell: Cell | str) -> RunFolder:
        return RunFolder(self.root / "cells" / (cell if isinstance(cell, str) else cell.id))

    def reports(self, grid: str) -> Path:
        return self.root / "reports" / grid

    def save_grid(self, name: str, rows: list[dict[str, Any]]) -> None:
        """Remember the rows of a grid, so that reports need no grid file."""
        content = {"name": name, "rows": rows}
        write_atomically(self.root / "grids" / f"{name}.json", json.dumps(content, indent=1))
        with Session(self._connect()) as session:
            session.merge(GridRecord(name=name, content=content))
            session.commit()

    def index(self, cells: Iterable[str]) -> None:
        """Take in the present state of these cells' folders."""
        with Session(self._connect()) as session:
            for cell in cells:
                _index_cell(session, cell, self.folder(cell))
            session.commit()

    def reindex(self) -> int:
        """Build the index anew from the folders; returns the number of cells."""
        engine = self._connect()
        _Base.metadata.drop_all(engine)
        _Base.metadata.create_all(engine)
        cells = sorted(path.name for path in (self.root / "cells").glob("*/") if (path / "job.json").exists())
        self.index(cells)
        with Session(engine) as session:
            for file in sorted((self.root / "grids").glob("*.json")):
                content = json.loads(file.read_text(encoding="utf-8"))
                session.merge(GridRecord(name=content["name"], content=content))
            session.commit()
        return len(cells)

    def cells(self) -> dict[str, CellRecord]:
        with Session(self._open()) as session:
            return {
                record.id: record for record in session.scalars(select(CellRecord).order_by(CellRecord.id))
            }

    def grids(self) -> dict[str, list[dict[str, Any]]]:
        """Grid name -> rows."""
        with Session(self._open()) as session:
            return {record.name: record.content["rows"] for record in session.scalars(select(GridRecord))}

    def _open(self) -> Engine:
        """For reading: the index, built from the folders where it is missing.

        Raises:
            MtlbenchError: there are no runs here.
        """
        if self.url.startswith("sqlite") and not (self.root / "index.db").exists():
            if not (self.root / "cells").is_dir():
                raise MtlbenchError(f"no runs in {self.root}: it has no folder `cells`")
            log.info("building the index of %s from its run folders", self.root)
            self.reindex()
        return self._connect()

    def _connect(self) -> Engine:
        if self._engine is None:
            self.root.mkdir(parents=True, exist_ok=True)
            self._engine = create_engine(self.url)
            if self._engine.dialect.name == "sqlite":
                event.listen(self._engine, "connect", _wait_for_other_writers)
            _Base.metadata.create_all(self._engine)
        return self._engine


def _wait_for_other_writers(connection: Any, record: Any) -> None:
    connection.execute("PRAGMA busy_timeout = 30000")


def _index_cell(session: Session, cell: str, folder: RunFolder) -> None:
    result, failure = folder.result(), folder.failure()
    job = json.loads(folder.job.read_text(encoding="utf-8"))
    session.merge(
        CellRecord(
            id=cell,
            state=folder.state(),
            cell_json=json.dumps(job["cell"]),
            result_json=result.model_dump_json() if result else None,
            failure_json=failure.model_dump_json() if failure and not result else None,
        )
    )
    session.execute(delete(ScoreRecord).where(ScoreRecord.cell == cell))
    if result is None:
        return
    for task, metrics in result.scores.items():
        for metric, value in metrics.items():
            known = value if value == value else None  # SQL has no NaN
            primary = metric == result.tasks[task].metric
            session.add(ScoreRecord(cell=cell, task=task, metric=metric, value=known, primary=primary))


def load(root: str | Path, url: str | None = None) -> pd.DataFrame:
    """All scores of a folder of runs as a tidy frame, one row a score.

    Columns: cell, dataset, backbone, method, balancer, tuning, seed, task, metric, value, primary,
        parameters, macs,
    train_seconds.

    Raises:
        MtlbenchError: there are no runs in `root`.
    """
    runs = Runs(Path(root), url)
    rows = []
    for record in runs.cells().values():
        result = record.result
        if result is None:
            continue
        cell = result.cell
        names = ("dataset", "backbone", "method", "balancer", "tuning")
        axes = {axis: str(getattr(cell, axis)) for axis in names}
        costs = result.costs.model_dump(include={"parameters", "macs", "train_seconds"})
        for task, metrics in result.scores.items():
            for metric, value in metrics.items():
                primary = metric == result.tasks[task].metric
                score = {"task": task, "metric": metric, "value": value, "primary": primary}
                rows.append({"cell": record.id, **axes, "seed": cell.seed, **score, **costs})
    return pd.DataFrame(rows)
