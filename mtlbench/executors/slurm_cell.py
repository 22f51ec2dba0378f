"""One cell in Slurm's hands: from the state of its job and the outcome that it left to events."""

from __future__ import annotations

import pickle
import signal
import time
from pathlib import Path
from typing import Literal

from mtlbench.executors.base import Event
from mtlbench.executors.slurm_record import Handed
from mtlbench.executors.slurm_states import ENDED, GONE
from mtlbench.folder import Failure, FailureKind, Job, RunFolder

_UNLISTED = 10
"""So much longer than with other ends is the patience with a job that Slurm does not list (yet)."""


class SlurmCell:
    """What was last seen of it.

    Args:
        outcome: the file in which submitit leaves what `CellJob` returned.
        patience: seconds for which a job must have ended without an outcome before its cell is called lost:
            files may appear late, and a pre-empted job may go back into the queue.
        adopted: an earlier driver handed it on. If it ended without being done, it is only `stale`.

    Attributes:
        ended: nothing more is to be expected.
        stale: ended, and to be submitted anew.
        may_come_back: ended, but Slurm may run the job again beside the next try of its cell.
    """

    def __init__(
        self, job: Job, handed: Handed, outcome: Path, *, patience: float, adopted: bool = False
    ) -> None:
        self.job, self.handed, self.outcome = job, handed, outcome
        self.ended = self.stale = self.may_come_back = False
        self._patience, self._adopted = patience, adopted
        self._started = False
        self._state = ""
        self._since = time.monotonic()
        self._left_outcome: float | None = None

    def look(self, state: str, *, has_outcome: bool) -> list[Event]:
        """What is new, after a change of the job's state or of the files that it left."""
        now = time.monotonic()
        if state != self._state:
            self._state, self._since = state, now
        finished: Event | None = None
        if has_outcome:
            self._left_outcome = self._left_outcome or now
            finished = self._read_outcome(now - self._left_outcome)
        elif state in ENDED:
            finished = self._ended_without_word(now - self._since)
        events = []
        if not self._started and (has_outcome or state == "RUNNING"):
            self._started = True
            events.append(self._event("started"))
        if finished is not None:
            self.ended = True
            self.may_come_back = finished.exit_code not in (0, 1)
            self.stale = self._adopted and finished.exit_code != 0
            events.append(finished)
        return [] if self.stale else events

    def _read_outcome(self, seconds: float) -> Event | None:
        """None while Slurm may yet say why the process was killed; `seconds` since the outcome is there."""
        try:
            kind, found = pickle.loads(self.outcome.read_bytes())
        except (OSError, EOFError, pickle.UnpicklingError) as error:
            return self._failed("lost", f"its outcome can't be read: {error}")
        if kind == "error":
            return self._submitit_failed(found)
        code, passed = found
        if passed is not None:
            return self._event("finished", code, Failure.model_validate_json(passed))
        if code == -signal.SIGKILL:
            if self._state == "OUT_OF_MEMORY":
                return self._ended_without_word(seconds=self._patience)
            if self._state not in ENDED and seconds < self._patience:
                return None
        return self._event("finished", code)

    def _submitit_failed(self, trace: str) -> Event:
        """The job could not run the cell at all, or may not be put back into the queue again."""
        reason = trace.strip().splitlines()[-1] if trace.strip() else "no reason given"
        return self._failed("timeout" if "timed-out too many times" in trace else "lost", reason, trace)

    def _ended_without_word(self, seconds: float) -> Event | None:
        """What the job's end means, once it has lasted so many seconds."""
        patience = self._patience * (_UNLISTED if self._state == GONE else 1)
        if seconds < patience and not self._adopted:
            return None
        return self._failed(ENDED[self._state], f"it ended as {self._state}")

    def _failed(self, kind: FailureKind, what: str, details: str = "") -> Event:
        message = f"Slurm job {self.handed.job_id}: {what}"
        details = details or RunFolder(self.job.folder).log_end(30)
        return self._event("finished", None, Failure(kind=kind, message=message, details=details))

    def _event(
        self, kind: Literal["started", "finished"], code: int | None = None, failure: Failure | None = None
    ) -> Event:
        return Event(self.handed.cell, kind, code, failure)
