"""Runs the cells of a plan through an executor and keeps the index up to date."""

from __future__ import annotations

import logging
import signal
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from types import FrameType
from typing import Literal

from mtlbench.claims import Claims
from mtlbench.executors.base import EXIT_INTERRUPTED, Event, Executor, not_started
from mtlbench.folder import Failure, Job
from mtlbench.retrying import Retries
from mtlbench.spec import Cell, Execution
from mtlbench.store import Runs

CellState = Literal["waiting", "running", "elsewhere", "done", "failed", "pruned", "blocked", "interrupted"]
"""`elsewhere`: another driver of the same store runs it."""
OTHERS_SECONDS = 2.0
"""Between two looks at what other drivers do."""

log = logging.getLogger(__name__)


@dataclass
class Progress:
    """The present state of every cell of a run, for a live view."""

    states: dict[str, CellState] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)
    interrupted: bool = False

    def count(self, state: CellState) -> int:
        return sum(s == state for s in self.states.values())


class Driver:
    """Starts each cell as soon as those that it starts from are done, and again where it was lost.

    Args:
        cells: to run, those that others start from first.
        executor: runs them.
        runs: where their folders are.
        execution: how they are run.
        plugins: files with plugins.
        claims: keeps other drivers of the same store from running the same cells.
        execution_of: how a cell is run that is not run as the others.
    """

    def __init__(
        self,
        cells: Iterable[Cell],
        executor: Executor,
        runs: Runs,
        execution: Execution,
        plugins: tuple[str, ...],
        claims: Claims | None = None,
        *,
        execution_of: Callable[[Cell], Execution] | None = None,
    ) -> None:
        self.progress = Progress()
        self._first = list(cells)
        self._cells: dict[str, Cell] = {}
        self._executor, self._runs, self._claims = executor, runs, claims
        self._execution_of = execution_of or (lambda cell: execution)
        self._plugins = plugins
        self._retries = Retries(execution)
        self._ready: deque[str] = deque()
        self._later: list[tuple[float, str]] = []
        self._children: dict[str, list[str]] = {}
        self._waits_for: dict[str, set[str]] = {}
        self._looked = -float("inf")

    def run(
        self,
        on_change: Callable[[Progress], None],
        interval: float = 0.2,
        *,
        more: Callable[[Progress], Iterable[Cell] | None] | None = None,
    ) -> Progress:
        """Run what is not done; returns when all have ended, or after Ctrl-C or SIGTERM, with checkpoints
        written.

        Args:
            on_change: called every `interval` seconds.
            interval: seconds.
            more: called as often; returns cells to run, too, those that others start from first, or None:
                there will be no more.
        """
        self._add(self._first)
        with _StopSignals() as stop:
            while (more is not None or self._unfinished()) and not stop.received:
                self._look_at_others()
                if more is not None:
                    found = more(self.progress)
                    self._add(found or ())
                    more = None if found is None else more
                self._submit()
                self._take_in(self._executor.poll())
                on_change(self.progress)
                self._executor.wait(interval)
            if stop.received:
                self._stop()
        on_change(self.progress)
        return self.progress

    def withdraw(self, cells: Collection[str]) -> None:
        """Forget those of these cells that were not handed to the executor: nobody needs them any more."""
        waiting = {*self._ready, *(name for _, name in self._later)}
        waiting |= {name for children in self._children.values() for name in children}
        gone = waiting & set(cells)
        self._ready = deque(name for name in self._ready if name not in gone)
        self._later = [(moment, name) for moment, name in self._later if name not in gone]
        for parent, children in self._children.items():
            self._children[parent] = [name for name in children if name not in gone]
        for name in gone:
            self._waits_for.pop(name, None)
            del self._cells[name], self.progress.states[name]

    def _add(self, cells: Iterable[Cell]) -> None:
        """What is done, what can start, and what waits for another cell."""
        new = [cell for cell in cells if cell.id not in self._cells]
        self._cells |= {cell.id: cell for cell in new}
        for name, cell in {cell.id: cell for cell in new}.items():
            if self._runs.folder(cell).result() is not None:
                self.progress.states[name] = "done"
                continue
            self.progress.states[name] = "waiting"
            missing = [parent.id for parent in cell.parents if not self._is_done(parent.id)]
            lost = next((parent for parent in missing if not self._is_to_come(parent)), None)
            if lost is not None:
                self._block(name, lost)
            elif missing:
                self._waits_for[name] = set(missing)
                for parent in missing:
                    self._children.setdefault(parent, []).append(name)
            else:
                self._ready.append(name)

    def _is_to_come(self, name: str) -> bool:
        ended = self.progress.states.get(name, "waiting") in ("failed", "pruned", "blocked")
        return name in self._cells and not ended

    def _is_done(self, name: str) -> bool:
        state = self.progress.states.get(name)
        return state == "done" or (state is None and self._runs.folder(name).result() is not None)

    def _unfinished(self) -> bool:
        open_states = ("waiting", "running", "elsewhere")
        return any(state in open_states for state in self.progress.states.values())

    def _submit(self) -> None:
        """As many as the executor has room for, and only those that no other driver has."""
        now = time.monotonic()
        due = [name for moment, name in self._later if moment <= now]
        self._later = [(moment, name) for moment, name in self._later if moment > now]
        self._ready.extendleft(reversed(due))
        room = self._executor.room()
        wanted = [self._ready.popleft() for _ in range(min(room, len(self._ready)))]
        ours = set(wanted) if self._claims is None or not wanted else self._claims.take(wanted)
        for name in wanted:
            if name not in ours:
                self.progress.states[name] = "elsewhere"
            elif self._runs.folder(name).result() is not None:  # another driver was faster
                self._finish(name)
            else:
                self._hand_on(self._job(self._cells[name]))

    def _hand_on(self, job: Job) -> None:
        """A disk without room for its job's file is one cell's trouble, and passes."""
        try:
            self._executor.submit(job)
        except OSError as error:
            self._end(not_started(job, error))

    def _job(self, cell: Cell) -> Job:
        return Job(
            cell=cell,
            folder=self._runs.folder(cell).path,
            execution=self._execution_of(cell),
            plugins=self._plugins,
            accumulate=self._retries.accumulate(cell),
        )

    def _look_at_others(self) -> None:
        """Keep our claims; cells of other drivers are theirs until they are done or given up."""
        if self._claims is None:
            return
        for name in self._claims.renew():
            log.warning("%s: another driver took it over, since this one did not get to the store", name)
        if time.monotonic() - self._looked < OTHERS_SECONDS:
            return
        self._looked = time.monotonic()
        for name, state in list(self.progress.states.items()):
            if state != "elsewhere":
                continue
            folder = self._runs.folder(name)
            if folder.result() is not None:
                self._finish(name)
            elif self._claims.take([name]):
                failure = folder.failure()
                if failure is not None:
                    self._fail(name, failure)
                else:
                    self.progress.states[name] = "waiting"
                    self._ready.append(name)

    def _take_in(self, events: list[Event]) -> None:
        for happened in events:
            if happened.kind == "started":
                self.progress.states[happened.cell] = "running"
            else:
                self._end(happened)
        if events:
            self._runs.index([happened.cell for happened in events])

    def _end(self, finished: Event) -> None:
        """What the folder says; what ended without a word gets a failure that says how."""
        name, folder = finished.cell, self._runs.folder(finished.cell)
        if folder.result() is not None:
            self._finish(name)
            return
        failure = finished.failure or folder.failure() or _unexplained(finished, folder.log_end())
        pause = self._retries.again(self._cells[name], failure, folder)
        if pause is None:
            folder.fail(failure)
            self._fail(name, failure)
        else:
            folder.try_again()
            self.progress.states[name] = "waiting"
            self._later.append((time.monotonic() + pause, name))

    def _finish(self, name: str) -> None:
        self.progress.states[name] = "done"
        self._release(name)
        free = []
        for child in self._children.pop(name, []):
            waits_for = self._waits_for[child]
            waits_for.discard(name)
            if not waits_for:
                del self._waits_for[child]
                free.append(child)
        self._ready.extendleft(reversed(free))

    def _fail(self, name: str, failure: Failure) -> None:
        self.progress.states[name] = "pruned" if failure.kind == "pruned" else "failed"
        self.progress.reasons[name] = f"{failure.kind}: {failure.message}"
        self._release(name)
        self._block_children(name)

    def _block_children(self, name: str) -> None:
        for child in self._children.pop(name, []):
            for siblings in self._children.values():
                if child in siblings:
                    siblings.remove(child)
            self._waits_for.pop(child, None)
            self._block(child, name)

    def _block(self, name: str, parent: str) -> None:
        self.progress.states[name] = "blocked"
        self.progress.reasons[name] = f"the cell that it starts from is not done: {parent}"
        self._runs.folder(name).create(self._job(self._cells[name]))  # so that `rerun` knows of it
        self._block_children(name)

    def _release(self, name: str) -> None:
        if self._claims is not None:
            self._claims.release([name])

    def _stop(self) -> None:
        self.progress.interrupted = True
        self._executor.cancel()
        unfinished = [n for n, state in self.progress.states.items() if state in ("waiting", "running")]
        for name in unfinished:
            done = self._runs.folder(name).result() is not None
            self.progress.states[name] = "done" if done else "interrupted"
        self._runs.index([name for name in unfinished if self._runs.folder(name).job.exists()])
        if self._claims is not None:
            self._claims.release(unfinished)


def _unexplained(finished: Event, log_end: str) -> Failure:
    code = finished.exit_code
    if code == EXIT_INTERRUPTED:
        how = "stopped from outside"
    elif code is None or code >= 0:
        how = f"ended with exit code {code}"
    else:
        how = f"killed by {signal.Signals(-code).name}"
    hint = " (out of memory?)" if code == -signal.SIGKILL else ""
    return Failure(kind="killed", message=f"its process was {how}{hint}", details=log_end)


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
