"""Where Optuna keeps studies: a file in the folder of runs, or the store's database."""

from __future__ import annotations

import fcntl
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from mtlbench.errors import MtlbenchError
from mtlbench.files import set_aside
from mtlbench.studies.records import studies_folder

UNAVAILABLE = (optuna.exceptions.StorageInternalError, SQLAlchemyError)
"""What a database raises that can't be used now."""
BUSY_SECONDS = 30
"""How long a SQLite file that another process writes to is waited for."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Storage:
    """An Optuna storage, and how users name it (a file or a URL without its password)."""

    optuna: BaseStorage
    place: str


def open_storage(kind: str | None, root: Path, store: str | None) -> Storage:
    """The storage that a command asks for.

    Args:
        kind: `store`, `journal` or a URL; None: the store where it is PostgreSQL, else the journal.
        root: folder of runs.
        store: the store's URL; None: SQLite in the folder.

    Raises:
        MtlbenchError: `kind` is none of these, or the database can't be used.
    """
    url = store or f"sqlite:///{root / 'index.db'}"
    if kind is None:
        kind = "store" if url.startswith("postgresql") else "journal"
    if kind == "journal":
        return _journal(studies_folder(root) / "optuna.log")
    if kind != "store" and "://" not in kind:
        raise MtlbenchError(f"--storage must be store, journal or the URL of a database, got {kind}")
    return _database(url if kind == "store" else kind)


@contextmanager
def quiet() -> Iterator[None]:
    """Optuna's own messages and its warnings of experimental parts are for those who write programs."""
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _journal(file: Path) -> Storage:
    file.parent.mkdir(parents=True, exist_ok=True)
    lock = _KernelLock(file.with_name(".optuna.lock"))
    lock.acquire()
    try:
        _cut_torn_line(file)
    finally:
        lock.release()
    with quiet():
        try:
            storage = JournalStorage(JournalFileBackend(str(file), lock_obj=lock))
        except (ValueError, KeyError) as error:
            log.warning("%s can't be read (%s): studies are put back from their records", file, error)
            set_aside(file)
            storage = JournalStorage(JournalFileBackend(str(file), lock_obj=lock))
    return Storage(storage, str(file))


def _database(url: str) -> Storage:
    try:
        parsed = make_url(url)
        is_file = parsed.get_backend_name() == "sqlite"
        options = {"timeout": BUSY_SECONDS} if is_file else {}
        # of a server no connection stays open between transactions: none goes stale, none is left behind
        pool = {} if is_file else {"poolclass": NullPool}
        if is_file and parsed.database:
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        with quiet():
            storage = RDBStorage(url, engine_kwargs={"connect_args": options, **pool})
    except (*UNAVAILABLE, OSError, ImportError, RuntimeError) as error:
        reason = str(error.__cause__ or error).strip().splitlines()[0]
        raise MtlbenchError(f"studies can't be kept in {_without_password(url)}: {reason}") from error
    return Storage(storage, _without_password(url))


def _without_password(url: str) -> str:
    try:
        return make_url(url).render_as_string(hide_password=True)
    except SQLAlchemyError:
        return url.partition("://")[0] + "://..."


def _cut_torn_line(file: Path) -> None:
    """What a machine that stopped was writing: a line without end would spoil the next one."""
    if not file.exists():
        return
    with file.open("r+b") as journal:
        data = journal.read()
        if data and not data.endswith(b"\n"):
            journal.truncate(data.rfind(b"\n") + 1)
            log.warning("%s: its last line was cut off, and is gone", file)


class _KernelLock(JournalFileOpenLock):
    """A lock that goes with the process that holds it, where Optuna's own would be waited for."""

    def __init__(self, file: Path) -> None:
        self._path = file
        self._held: IO[bytes] | None = None

    def acquire(self) -> bool:
        self._held = self._path.open("ab")
        fcntl.flock(self._held, fcntl.LOCK_EX)
        return True

    def release(self) -> None:
        assert self._held is not None
        self._held.close()
        self._held = None
