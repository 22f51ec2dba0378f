"""Looks after the limits of one running cell."""

from __future__ import annotations

import time
from collections.abc import Callable

from mtlbench.executors import sessions
from mtlbench.folder import Failure, FailureKind, RunFolder
from mtlbench.spec import Execution

INTERVAL = 1.0
"""Seconds between two looks at a cell."""


class Watch:
    """Times of day are never compared: clocks jump.

    Args:
        clock: seconds that only go forward.
    """

    def __init__(
        self, folder: RunFolder, execution: Execution, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._folder = folder
        self._execution = execution
        self._clock = clock
        self._started = self._changed = self._looked = clock()
        self._alive = self._last_life()

    def look(self, session: int | None) -> Failure | None:
        """The limit that the cell has passed; looks at most once every `INTERVAL` seconds.

        Args:
            session: the id of the cell's process; None: there is none yet, and no time counts.
        """
        now = self._clock()
        if session is None:
            self._started = self._changed = now
            return None
        if now - self._looked < INTERVAL:
            return None
        self._looked = now
        return self._too_long(now) or self._too_quiet(now) or self._too_large(session)

    def _too_long(self, now: float) -> Failure | None:
        limit = self._execution.time_limit
        if limit is None or now - self._started <= 60 * limit:
            return None
        return _passed("timeout", "it ran longer than the limit", "time_limit", f"{limit:g} minutes")

    def _too_quiet(self, now: float) -> Failure | None:
        alive = self._last_life()
        if alive != self._alive:
            self._alive, self._changed = alive, now
        limit = self._execution.stuck_after
        if now - self._changed <= 60 * limit:
            return None
        return _passed("stuck", "it showed no sign of life any more", "stuck_after", f"{limit:g} minutes")

    def _too_large(self, session: int) -> Failure | None:
        limit = self._execution.memory_gb
        if limit is None:
            return None
        size = sessions.resident_bytes(session, enough=limit * 1e9)
        if size <= limit * 1e9:
            return None
        what = f"it took {size / 1e9:.2f} GB of main memory, more than the limit"
        return _passed("out_of_memory", what, "memory_gb", f"{limit:g} GB")

    def _last_life(self) -> int | None:
        try:
            return self._folder.alive.stat().st_mtime_ns
        except OSError:  # not there yet, or the file system does not answer
            return None


def _passed(kind: FailureKind, what: str, key: str, limit: str) -> Failure:
    return Failure(kind=kind, message=f"{what} (`execution.{key}`: {limit})")
