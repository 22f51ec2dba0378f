"""One cell's processes, from their start until the last of them is gone."""

from __future__ import annotations

import signal
import time
from abc import ABC, abstractmethod

from mtlbench.executors import sessions
from mtlbench.executors.base import Event
from mtlbench.executors.slots import Share
from mtlbench.executors.watch import Watch
from mtlbench.folder import Failure, FailureKind, Job, RunFolder

GRACE_SECONDS = 60.0
"""How long a cell that was asked to stop may take to write its checkpoint."""
_STACK_SECONDS = 5.0
"""How long a stuck cell may take to write where it stands into its log."""
_LEFT_SECONDS = 1.0
"""How long what a cell has started may outlive it."""
_STACK_LINES = 1000
"""Of all threads, at most."""

_ENDS: dict[FailureKind, tuple[signal.Signals, float]] = {
    "timeout": (signal.SIGTERM, GRACE_SECONDS),
    "stuck": (signal.SIGABRT, _STACK_SECONDS),
    "out_of_memory": (signal.SIGKILL, 0.0),
}
"""How a cell that passed a limit is ended: by this signal, and after so many seconds by SIGKILL."""


class CellProcess(ABC):
    """The process of one cell; it leads a session of its own."""

    @property
    @abstractmethod
    def pid(self) -> int | None:
        """None while it is not known."""

    @abstractmethod
    def poll(self) -> int | None:
        """Its exit code; None while it lives."""

    def signal(self, number: signal.Signals) -> None:
        """Send to it alone."""
        if self.pid is not None:
            sessions.signal_leader(self.pid, number)

    def kill(self) -> None:
        """It, and all that it started."""
        if self.pid is not None:
            sessions.kill(self.pid)


class Supervised:
    """Ends a cell that passes a limit, and what a cell leaves behind."""

    def __init__(self, job: Job, process: CellProcess, share: Share) -> None:
        self.share = share
        self._cell = job.cell.id
        self._folder = RunFolder(job.folder)
        self._process = process
        self._watch = Watch(self._folder, job.execution)
        self._failure: Failure | None = None
        self._kill_at: float | None = None

    def stop(self) -> None:
        """Ask it to write a checkpoint and exit; it is killed where that takes too long."""
        self._end(signal.SIGTERM, GRACE_SECONDS)

    def poll(self) -> Event | None:
        """How it finished; None while any of its processes lives."""
        code = self._process.poll()
        if code is None:
            self._enforce_limits()
        elif not self._process.pid or not sessions.members(self._process.pid):
            return Event(self._cell, "finished", code, self._why(code))
        else:
            self._kill_within(_LEFT_SECONDS if code >= 0 else 0.0)
        if self._kill_at is not None and time.monotonic() >= self._kill_at:
            self._process.kill()
        return None

    def _enforce_limits(self) -> None:
        if self._failure is None:
            self._failure = self._watch.look(self._process.pid)
            if self._failure is not None:
                self._end(*_ENDS[self._failure.kind])

    def _end(self, number: signal.Signals, seconds: float) -> None:
        self._process.signal(number)
        self._kill_within(seconds)

    def _kill_within(self, seconds: float) -> None:
        at = time.monotonic() + seconds
        self._kill_at = at if self._kill_at is None else min(self._kill_at, at)

    def _why(self, code: int) -> Failure | None:
        """The limit that ended it, unless it was done before it could be ended."""
        if self._failure is None or code == 0:
            return None
        return self._failure.model_copy(update={"details": _where_it_stood(self._folder)})


def _where_it_stood(folder: RunFolder) -> str:
    """The newest calls of the main thread where SIGABRT has made the cell tell them, else the log's end."""
    lines = folder.log_end(_STACK_LINES).splitlines()
    stacks = [i for i, line in enumerate(lines) if line.startswith("Current thread")]
    return "\n".join(lines[stacks[-1] : stacks[-1] + 15] if stacks else lines[-15:])
