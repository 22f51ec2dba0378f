"""Runs the cells of a plan through an executor and keeps the index up to date."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FrameType
from typing import Literal

from mtlbench.cell import EXIT_INTERRUPTED
from mtlbench.executors.base import Event, Executor
from mtlbench.folder import Failure, Job
from mtlbench.spec import Cell, Execution
from mtlbench.store import Runs

CellState = Literal["waiting", "running", "done", "failed", "interrupted"]

log = logging.getLogger(__name__)


@dataclass
class Progress:
    """The present state of every cell of a run, for a live view."""

    states: dict[str, CellState] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)
    interrupted: bool = False

    def count(self, state: CellState) -> int:
        return sum(s == state for s in self.states.values())


def run_cells(
    cells: list[Cell],
    executor: Executor,
    runs: Runs,
    execution: Execution,
    plugins: tuple[str, ...],
    on_change: Callable[[Progress], None],
    interval: float = 0.2,
) -> Progress:
    """Run what is not done; returns when all have ended, or after Ctrl-C or SIGTERM, with checkpoints
    written.

    `on_change` is called every `interval` seconds.
    """
    progress = Progress()
    for cell in cells:
        folder = runs.folder(cell)
        done = folder.state() == "done"
        progress.states[cell.id] = "done" if done else "waiting"
        if not done:
            job = Job(cell=cell, folder=folder.path, execution=execution, plugins=plugins)
            folder.create(job)
            executor.submit(job)
    runs.index(progress.states)
    with _StopSignals() as stop:
        while not executor.idle() and not stop.received:
            _take_in(executor.poll(), progress, runs)
            on_change(progress)
            time.sleep(interval)
        if stop.received:
            progress.interrupted = True
            executor.cancel()
            unfinished = [name for name, state in progress.states.items() if state in ("waiting", "running")]
            for name in unfinished:
                progress.states[name] = "done" if runs.folder(name).result() else "interrupted"
            runs.index(unfinished)
    on_change(progress)
    return progress


def _take_in(events: list[Event], progress: Progress, runs: Runs) -> None:
    for happened in events:
        if happened.kind == "started":
            progress.states[happened.cell] = "running"
        else:
            progress.states[happened.cell] = _outcome(happened, runs)
    if events:
        runs.index([happened.cell for happened in events])


def _outcome(finished: Event, runs: Runs) -> CellState:
    """What the folder says; a process that ended without a word gets a failure of the kind `killed`."""
    folder = runs.folder(finished.cell)
    if folder.result() is not None:
        return "done"
    if finished.exit_code == EXIT_INTERRUPTED:
        return "interrupted"
    if folder.failure() is None:
        code = finished.exit_code or 0
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        hint = " (out of memory?)" if code == -signal.SIGKILL else ""
        folder.fail(Failure(kind="killed", message=f"its process was {how}{hint}", details=folder.log_end()))
    return "failed"


class _StopSignals:
    """Notes SIGINT and SIGTERM instead of letting them break in."""

    def __enter__(self) -> _StopSignals:
        self.received = False
        self._before = {s: signal.signal(s, self._note) for s in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = True
