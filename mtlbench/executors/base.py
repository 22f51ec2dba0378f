"""What every executor promises: it runs `mtlbench run-cell JOB` somewhere, and says what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from mtlbench.files import full_disk, is_full
from mtlbench.folder import Failure, Job

EXIT_DONE, EXIT_FAILED, EXIT_INTERRUPTED = 0, 1, 75
"""Of a cell's process; 75: it was asked to stop, and left a checkpoint."""


@dataclass(frozen=True)
class Event:
    """A change of one submitted cell.

    Attributes:
        exit_code: of its process, once finished; negative: ended by that signal; None: not known.
        failure: why it finished, where the executor knows it better than the folder: a limit that it passed,
            a machine that was lost.
    """

    cell: str
    kind: Literal["started", "finished"]
    exit_code: int | None = None
    failure: Failure | None = None


def not_started(job: Job, error: OSError) -> Event:
    """Of a cell whose folder could not be written."""
    if is_full(error):
        failure = Failure(kind="disk_full", message=full_disk(job.folder))
    else:
        failure = Failure(kind="error", message=f"it could not be started: {error}")
    return Event(job.cell.id, "finished", None, failure)


class Executor(Protocol):
    """Runs cells, each in a process of its own whose only output is its run folder."""

    def submit(self, job: Job) -> None:
        """Run the job as soon as there is room."""

    def room(self) -> int:
        """How many more jobs it should be given now: a few that wait, so that nothing stands idle, but not
        all of a large grid, which other drivers may share. One that hands on in batches takes any number.
        """

    def poll(self) -> list[Event]:
        """What happened since the last call; never blocks."""

    def wait(self, seconds: float) -> None:
        """Sleep until a cell has ended, at most so long."""

    def idle(self) -> bool:
        """Whether nothing is running or waiting."""

    def cancel(self) -> None:
        """Drop what waits, stop what runs (checkpoints are written), wait until all processes are gone."""

    def close(self) -> None:
        """Give back what the executor holds; nothing is running any more."""
