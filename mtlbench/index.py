"""The database behind the store: its tables, and transactions that tell damage from what passes by itself."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import BigInteger, Connection, Engine, String, Text, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.pool import NullPool

from mtlbench.errors import MissingExtra, MtlbenchError
from mtlbench.files import set_aside
from mtlbench.folder import Failure, Result, read_failure, read_result

T = TypeVar("T")
BUSY_SECONDS = 10
"""How long a SQLite index that another process writes to is waited for."""
_PREFIX = "mtlbench2_"
"""Of tables; another number where columns change: the tables of other versions are left alone."""
_CONFLICTS = ("40P01", "40001", "23505")
"""PostgreSQL's codes of a deadlock, of transactions that can't be put in one order, and of a row that another
one has added since we looked."""
_MISSING_TABLE = "42P01"

log = logging.getLogger(__name__)


class IndexUnavailable(MtlbenchError):
    """The index can't be used now: locked, its disk full, its server gone."""


class IndexDamaged(Exception):
    """The index has to be built anew."""


class _Base(DeclarativeBase):
    pass


class RunsRecord(_Base):
    """A folder of runs that the index knows whole."""

    __tablename__ = f"{_PREFIX}runs"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    path: Mapped[str] = mapped_column(Text)


class CellRecord(_Base):
    """A cell as its folder was when last indexed.

    Attributes:
        mtime_ns, size: of the file that says so: `result.json` or `failure.json`.
        fingerprints: a JSON object.
        result_json: the content of `result.json` as it was when it was last whole.
        check: a checksum of the columns that plans are made from.
    """

    __tablename__ = f"{_PREFIX}cells"

    runs: Mapped[str] = mapped_column(String(32), primary_key=True)
    id: Mapped[str] = mapped_column(String(250), primary_key=True)
    state: Mapped[str] = mapped_column(String(20))
    mtime_ns: Mapped[int | None] = mapped_column(BigInteger)
    size: Mapped[int | None] = mapped_column(BigInteger)
    fingerprints: Mapped[str | None] = mapped_column(Text)
    iterations: Mapped[int | None] = mapped_column(BigInteger)
    train_seconds: Mapped[float | None]
    evaluate_seconds: Mapped[float | None]
    peak_memory_mb: Mapped[float | None]
    hardware: Mapped[str | None] = mapped_column(Text)
    check: Mapped[int] = mapped_column(BigInteger)
    cell_json: Mapped[str] = mapped_column(Text)
    result_json: Mapped[str | None] = mapped_column(Text)
    failure_json: Mapped[str | None] = mapped_column(Text)

    @property
    def result(self) -> Result | None:
        if self.state != "done" or self.result_json is None:
            return None
        return read_result(self.result_json.encode())

    @property
    def failure(self) -> Failure | None:
        return read_failure(self.failure_json.encode()) if self.failure_json else None


class ScoreRecord(_Base):
    """One number."""

    __tablename__ = f"{_PREFIX}scores"

    runs: Mapped[str] = mapped_column(String(32), primary_key=True)
    cell: Mapped[str] = mapped_column(String(250), primary_key=True)
    task: Mapped[str] = mapped_column(String(100), primary_key=True)
    metric: Mapped[str] = mapped_column(String(100), primary_key=True)
    value: Mapped[float | None]
    primary: Mapped[bool]


class OwnerRecord(_Base):
    """A driver that is at work; it raises `beat` while it lives."""

    __tablename__ = f"{_PREFIX}owners"

    runs: Mapped[str] = mapped_column(String(32), primary_key=True)
    owner: Mapped[str] = mapped_column(String(200), primary_key=True)
    beat: Mapped[int] = mapped_column(BigInteger)


class ClaimRecord(_Base):
    """A cell that an owner, and nobody else, may run."""

    __tablename__ = f"{_PREFIX}claims"

    runs: Mapped[str] = mapped_column(String(32), primary_key=True)
    cell: Mapped[str] = mapped_column(String(250), primary_key=True)
    owner: Mapped[str] = mapped_column(String(200))


class Index:
    """A SQLite file or a PostgreSQL database, connected to when it is first needed.

    Raises:
        MtlbenchError: the URL is of neither, or the driver is not installed.
    """

    def __init__(self, url: str) -> None:
        self.url = _parse(url)
        self.file = Path(self.url.database or "") if self.url.get_backend_name() == "sqlite" else None
        self._engine: Engine | None = None
        self._inode: int | None = None

    def is_there(self) -> bool:
        """False where a SQLite file would have to be made."""
        return self.file is None or self.file.exists()

    def transact(self, work: Callable[[Session], T], *, write: bool, make: bool = True) -> T:
        """What `work` returns, in one transaction.

        Args:
            work: reads, and where `write`, writes.
            write: whether it may write.
            make: first the tables, where there are none.

        Raises:
            IndexDamaged: it can't be read, or lacks tables.
            IndexUnavailable: the rest of what goes wrong with databases.
        """
        try:
            return self._try(work, write, make)
        except SQLAlchemyError as error:
            reason = str(error.__cause__ or error).strip().splitlines()[0]
            if _is_damage(error):
                raise IndexDamaged(reason) from error
            raise IndexUnavailable(f"the index {self} can't be used: {reason}") from error

    def set_damaged_aside(self) -> Path | None:
        """Make room for a new SQLite file; returns where the old one is."""
        inode, self._inode = self._inode, None
        self._close()
        if self.file is None or not self.file.exists() or self.file.stat().st_ino != inode:
            return None  # another process was faster, or the tables of a server are gone
        for suffix in ("-journal", "-wal", "-shm"):  # they would be applied to the new file
            with suppress(FileNotFoundError):
                self.file.with_name(self.file.name + suffix).unlink()
        set_aside(self.file)
        return self.file.with_name(f"damaged-{self.file.name}")

    def _close(self) -> None:
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None

    def __str__(self) -> str:
        return self.url.render_as_string(hide_password=True)

    def _try(self, work: Callable[[Session], T], write: bool, make: bool) -> T:
        """Again where the server ended our transaction for the sake of another one."""
        engine = self._connect(make).execution_options(write=write)
        for attempt in range(3):
            with Session(engine, expire_on_commit=False) as session:
                try:
                    found = work(session)
                    session.commit()
                except DBAPIError as error:
                    if attempt == 2 or getattr(error.orig, "sqlstate", None) not in _CONFLICTS:
                        raise
                else:
                    return found
        raise AssertionError  # not reached

    def _connect(self, make: bool) -> Engine:
        if self._engine is not None and self._inode != self._present_inode():
            self._close()  # the file was set aside or deleted under our feet
        if self._engine is None:
            engine = _make_engine(self.url)
            if not make:
                return engine
            if self.file is not None:
                self.file.parent.mkdir(parents=True, exist_ok=True)
            try:
                _Base.metadata.create_all(engine)
            except DBAPIError:  # two processes at once
                _Base.metadata.create_all(engine)
            finally:
                self._inode = self._present_inode()
            self._engine = engine
        return self._engine

    def _present_inode(self) -> int | None:
        try:
            return None if self.file is None else os.stat(self.file).st_ino
        except FileNotFoundError:
            return None


def _parse(text: str) -> URL:
    try:
        url = make_url(text)
        url.get_dialect()
    except (ArgumentError, NoSuchModuleError):
        url = None
    if url is None or url.get_backend_name() not in ("sqlite", "postgresql"):
        raise MtlbenchError(
            "the store must be sqlite:///FILE or postgresql+psycopg://USER@HOST/DATABASE, got "
            f"{text if url is None else url.render_as_string(hide_password=True)}"
        )
    return url


def _make_engine(url: URL) -> Engine:
    """It keeps no connection open between transactions: none goes stale, and none is inherited by a fork."""
    if url.get_backend_name() == "sqlite":
        engine = create_engine(url, poolclass=NullPool, connect_args={"timeout": BUSY_SECONDS})
        event.listen(engine, "connect", _leave_transactions_to_us)
        event.listen(engine, "begin", _begin)
        return engine
    limits = {"connect_timeout": 10, "tcp_user_timeout": 20_000, "options": "-c statement_timeout=60s"}
    known = url.get_driver_name() in ("psycopg", "psycopg2")
    try:
        return create_engine(url, poolclass=NullPool, connect_args=limits if known else {})
    except ModuleNotFoundError as error:
        raise MissingExtra(error.name or "psycopg", "postgres", "a store in PostgreSQL") from error


def _leave_transactions_to_us(connection: Any, record: Any) -> None:
    connection.isolation_level = None


def _begin(connection: Connection) -> None:
    """One that is going to write waits for others at its start: in its midst it could not."""
    write = connection.get_execution_options().get("write", True)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def _is_damage(error: SQLAlchemyError) -> bool:
    original = getattr(error, "orig", None)
    if not isinstance(original, sqlite3.Error):
        return getattr(original, "sqlstate", None) == _MISSING_TABLE
    code = getattr(original, "sqlite_errorcode", None)
    if code is None:
        return "decode" in str(original)  # text that is none
    unreadable = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
    return (
        code & 0xFF in unreadable
        or code in (sqlite3.SQLITE_IOERR_SHORT_READ, sqlite3.SQLITE_READONLY_DBMOVED)
        or code == sqlite3.SQLITE_ERROR  # no such table or column: what we ask for is always there
    )
