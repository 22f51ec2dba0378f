"""What every executor promises: it runs `mtlbench run-cell JOB` somewhere, and says what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from mtlbench.folder import Job


@dataclass(frozen=True)
class Event:
    """A change of one submitted cell.

    Attributes:
        exit_code: of its process, once finished; negative: ended by that signal.
    """

    cell: str
    kind: Literal["started", "finished"]
    exit_code: int | None = None


class Executor(Protocol):
    """Runs cells, each in a process of its own whose only output is its run folder."""

    def submit(self, job: Job) -> None:
        """Run the job as soon as there is room."""

    def poll(self) -> list[Event]:
        """What happened since the last call; never blocks."""

    def idle(self) -> bool:
        """Whether nothing is running or waiting."""

    def cancel(self) -> None:
        """Drop what waits, stop what runs (checkpoints are written), wait until all processes are gone."""

    def close(self) -> None:
        """Give back what the executor holds; nothing is running any more."""
