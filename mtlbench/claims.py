"""Which driver may run which cell, where several work on one store.

Every driver has a row with a counter that it raises every few seconds. Others take it for dead when the
counter has stood still for the length of a lease, by their own monotonic clock: no clock that jumps, on
whatever machine, gives a cell to two drivers. A driver of this machine is dead as soon as its process is
gone. Below all that, the lock of a cell's folder keeps two processes from computing the same cell.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import socket
import time
import uuid
from collections.abc import Iterable
from pathlib import Path

import psutil
from sqlalchemy import delete, select, text, update
from sqlalchemy.orm import Session

from mtlbench.index import ClaimRecord, IndexUnavailable, OwnerRecord
from mtlbench.indexing import batches
from mtlbench.store import Runs

LEASE_SECONDS = 60.0

log = logging.getLogger(__name__)


class Claims:
    """The cells of a driver, and those of others.

    Args:
        runs: the store.
        owner: name of the driver; the default tells machine, process and instance.
        lease: seconds without a sign of life after which a driver has lost its cells.
    """

    def __init__(self, runs: Runs, owner: str | None = None, *, lease: float = LEASE_SECONDS) -> None:
        self.owner = owner or name_of_this_process()
        self._runs, self._lease = runs, lease
        self._held: set[str] = set()
        self._seen: dict[str, tuple[int | None, float]] = {}
        self._renewed = -float("inf")
        self._warned = False

    def take(self, cells: Iterable[str]) -> set[str]:
        """Claim cells; returns those that are ours now, or were before.

        Where the database can't be used, all are: the folders' locks have to do.
        """
        asked = set(cells)

        def work(session: Session) -> set[str]:
            self._live(session)
            self._bury_the_dead(session)
            self._insert(session, asked)
            return asked & self._mine(session)

        try:
            taken = self._runs.transact(work, write=True)
        except IndexUnavailable as error:
            self._warn(error)
            taken = asked
        else:
            self._warned = False
        self._held |= taken
        return taken

    def renew(self) -> set[str]:
        """Show that we live, every quarter of a lease; returns cells that others have taken over."""
        now = time.monotonic()
        if now - self._renewed < self._lease / 4:
            return set()

        def work(session: Session) -> set[str]:
            self._live(session)
            self._insert(session, self._held)
            return self._held - self._mine(session)

        try:
            lost = self._runs.transact(work, write=True)
        except IndexUnavailable as error:
            self._warn(error)
            return set()
        self._warned = False
        self._renewed = now
        self._held -= lost
        return lost

    def release(self, cells: Iterable[str] | None = None) -> None:
        """Give cells back; None: all, at the end of the driver."""
        given = None if cells is None else list(cells)

        def work(session: Session) -> None:
            if given is None:
                self._bury(session, self.owner)
            for batch in batches(given or ()):
                mine = delete(ClaimRecord).where(ClaimRecord.runs == self._runs.id)
                session.execute(mine.where(ClaimRecord.owner == self.owner, ClaimRecord.cell.in_(batch)))

        self._held -= self._held if given is None else set(given)
        try:
            self._runs.transact(work, write=True)
        except IndexUnavailable as error:
            self._warn(error)

    def others(self) -> dict[str, str]:
        """Cells of other drivers that live -> who has them."""
        query = select(ClaimRecord.cell, ClaimRecord.owner).where(
            ClaimRecord.runs == self._runs.id, ClaimRecord.owner != self.owner
        )

        def work(session: Session) -> dict[str, str]:
            dead = {owner for owner, _ in self._dead(session)}
            return {cell: owner for cell, owner in session.execute(query) if owner not in dead}

        try:
            return self._runs.transact(work, write=False)
        except IndexUnavailable as error:
            self._warn(error)
            return {}

    def _live(self, session: Session) -> None:
        """Raise our counter; a driver that had been taken for dead comes back."""
        ours = (OwnerRecord.runs == self._runs.id, OwnerRecord.owner == self.owner)
        first = secrets.randbelow(2**40)  # one that comes back must not look as if it had stood still
        session.execute(_INSERT_OWNER, {"runs": self._runs.id, "owner": self.owner, "beat": first})
        session.execute(update(OwnerRecord).where(*ours).values(beat=OwnerRecord.beat + 1))

    def _insert(self, session: Session, cells: set[str]) -> None:
        """Those that nobody has; in one order, so that two drivers can't wait for each other."""
        if cells:
            insert = _INSERT_CLAIMS[session.get_bind().dialect.name]
            names = json.dumps(sorted(cells))
            session.execute(insert, {"runs": self._runs.id, "owner": self.owner, "cells": names})

    def _mine(self, session: Session) -> set[str]:
        query = select(ClaimRecord.cell).where(ClaimRecord.runs == self._runs.id)
        return set(session.scalars(query.where(ClaimRecord.owner == self.owner)))

    def _bury_the_dead(self, session: Session) -> None:
        for owner, beat in self._dead(session):
            found = select(OwnerRecord.beat).where(
                OwnerRecord.runs == self._runs.id, OwnerRecord.owner == owner
            )
            if session.scalar(found.with_for_update()) == beat:  # it has not come back meanwhile
                log.warning("the driver %s is gone: its cells are free", owner)
                self._bury(session, owner)

    def _bury(self, session: Session, owner: str) -> None:
        for record in (OwnerRecord, ClaimRecord):
            session.execute(delete(record).where(record.runs == self._runs.id, record.owner == owner))

    def _dead(self, session: Session) -> list[tuple[str, int | None]]:
        """Other owners whose process is gone, or whose counter has not changed for a lease."""
        owners = select(OwnerRecord.owner, OwnerRecord.beat).where(OwnerRecord.runs == self._runs.id)
        claimed = select(ClaimRecord.owner).where(ClaimRecord.runs == self._runs.id).distinct()
        beats: dict[str, int | None] = dict.fromkeys(session.scalars(claimed))
        beats.update((owner, beat) for owner, beat in session.execute(owners))
        beats.pop(self.owner, None)
        now = time.monotonic()
        self._seen = {
            owner: self._seen[owner] if self._seen.get(owner, (-1, 0.0))[0] == beat else (beat, now)
            for owner, beat in beats.items()
        }
        still = [owner for owner, (_, since) in self._seen.items() if now - since >= self._lease]
        return [(owner, beat) for owner, beat in beats.items() if owner in still or is_gone(owner)]

    def _warn(self, error: IndexUnavailable) -> None:
        if not self._warned:
            log.warning("other drivers of this store can't be seen: %s", error)
        self._warned = True


def name_of_this_process() -> str:
    """`HOST:PID:START:MACHINE:INSTANCE`: enough to find out on the same machine whether it still lives."""
    process = psutil.Process()
    return ":".join(
        (socket.gethostname(), str(process.pid), f"{_start(process)}", _machine(), uuid.uuid4().hex[:6])
    )


def is_gone(owner: str) -> bool:
    """Whether an owner was a process of this machine that has ended; False where that can't be known."""
    parts = owner.rsplit(":", 4)
    if len(parts) != 5 or parts[3] != _machine() or not parts[1].isdigit():
        return False
    try:
        process = psutil.Process(int(parts[1]))
        return f"{_start(process)}" != parts[2] or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _start(process: psutil.Process) -> int:
    """When it was started, by a clock that does not jump where there is one."""
    try:
        fields = Path(f"/proc/{process.pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return int(process.create_time())
    return int(fields.rpartition(")")[2].split()[19])  # in ticks since boot


def _machine() -> str:
    """Since its last boot, and what processes are visible here: a container sees only its own."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}-{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return f"{uuid.getnode():x}-{int(psutil.boot_time())}"


_INSERT_OWNER = text(
    f"INSERT INTO {OwnerRecord.__tablename__} (runs, owner, beat) VALUES (:runs, :owner, :beat) "
    "ON CONFLICT DO NOTHING"
)
_INSERT_CLAIMS = {
    name: text(
        f"INSERT INTO {ClaimRecord.__tablename__} (runs, cell, owner) SELECT :runs, value, :owner "
        f"FROM {rows} WHERE true ON CONFLICT DO NOTHING"
    )
    for name, rows in {
        "sqlite": "json_each(:cells)",
        "postgresql": "json_array_elements_text(CAST(:cells AS json)) AS value",
    }.items()
}
