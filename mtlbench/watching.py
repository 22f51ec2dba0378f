"""How far grids are, from outside: their run folders and the index are read, and nothing is written."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from pydantic import ValidationError

from mtlbench.errors import MtlbenchError
from mtlbench.folder import read_job
from mtlbench.outlook import ENDED, Left, Line, Outlook
from mtlbench.registry import unknown
from mtlbench.spec import Cell
from mtlbench.store import Runs
from mtlbench.summaries import NEW, Summary, survey


@dataclass(frozen=True, slots=True)
class RunningCell:
    """A cell that some process works on.

    Attributes:
        line: the last one of its history.
        steps: of its training.
        left: seconds.
        host: the machine; empty where that is not known.
        seen: time of day of its last sign of life.
        silent: seconds that were watched without one.
    """

    id: str
    line: Line | None
    steps: int | None
    left: float | None
    host: str = ""
    seen: float | None = None
    silent: float = 0.0


@dataclass(frozen=True)
class GridLook:
    """A grid at one moment.

    Attributes:
        states: of all cells: done, running, interrupted, new, failed, pruned or blocked.
        reasons: of those that failed, were pruned or are blocked.
        failed: those that failed, the last ones at the end.
    """

    name: str
    states: dict[str, str]
    reasons: dict[str, str]
    failed: list[str]
    running: list[RunningCell]
    left: Left | None

    def count(self) -> Counter[str]:
        return Counter(self.states.values())

    @property
    def ended(self) -> bool:
        return all(state in ENDED for state in self.states.values())


class _State(Protocol):
    @property
    def state(self) -> str: ...
    @property
    def reason(self) -> str: ...


class Reasoned(NamedTuple):
    """A cell's state, and why it failed, was pruned or is blocked."""

    state: str
    reason: str = ""


def why_blocked(cell: Cell | None, others: Mapping[str, _State]) -> str | None:
    """Why a cell that has not ended can't start, from the states of others; None: it can."""
    for parent in () if cell is None else cell.parents:
        base = others.get(parent.id)
        if base is not None and base.state in ("failed", "pruned", "blocked"):
            return f"starts from {parent.id}: {base.state}: {base.reason}"
    return None


class Watcher:
    """Looks at grids again and again, and each time only at what may have changed.

    Args:
        runs: where they are.
        grid: the only one to be watched.

    Raises:
        MtlbenchError: there are no runs, or not this grid.
    """

    def __init__(self, runs: Runs, grid: str | None = None) -> None:
        self._runs, self._only = runs, grid
        self._folders = _Folders(runs)
        self._key: object = None
        self._grids: dict[str, _Grid] = {}
        self._read_grids()

    def look(self) -> list[GridLook]:
        """All watched grids as they are now."""
        self._read_grids()
        self._folders.refresh({name for grid in self._grids.values() for name in grid.cells})
        return [grid.look(self._folders) for grid in self._grids.values()]

    def _read_grids(self) -> None:
        """Those whose files are as before stay."""
        with suppress(FileNotFoundError):
            files = (entry for entry in os.scandir(self._runs.root / "grids") if entry.name.endswith(".json"))
            key = sorted((file.name, file.stat().st_mtime_ns, file.stat().st_size) for file in files)
            if key == self._key:
                return
            self._key = key
        found = self._runs.grids()
        if self._only is not None and self._only not in found:
            raise MtlbenchError(unknown("grid", self._only, sorted(found)))
        names = sorted(found) if self._only is None else [self._only]
        self._grids = {name: _Grid(name, found[name], self._runs) for name in names}


class _Grid:
    def __init__(self, name: str, rows: list[dict[str, Any]], runs: Runs) -> None:
        self.name, self._runs = name, runs
        self.cells = cells_of(rows)
        self._outlook = Outlook(cell for cell in self.cells.values() if cell is not None)
        self._learned: set[str] = set()

    def look(self, folders: _Folders) -> GridLook:
        self._complete(folders)
        summaries = {name: folders.summary(name) for name in self.cells}
        done = {name: s for name, s in summaries.items() if s.state == "done" and name not in self._learned}
        self._outlook.learn(done)
        self._learned |= done.keys()
        found: dict[str, Reasoned] = {}
        for name, summary in summaries.items():
            found[name] = self._judge(name, summary, found)
        states = {name: reasoned.state for name, reasoned in found.items()}
        reasons = {name: reasoned.reason for name, reasoned in found.items() if reasoned.reason}
        lines = {
            name: line
            for name, state in states.items()
            if state in ("running", "interrupted") and (line := folders.last_line(name)) is not None
        }
        failed = sorted((name for name, state in states.items() if state == "failed"), key=folders.failed_at)
        running = [self._describe(name, lines.get(name), folders) for name in states_of(states, "running")]
        return GridLook(self.name, states, reasons, failed, running, self._outlook.left(states, lines))

    def _judge(self, name: str, summary: Summary, others: Mapping[str, Reasoned]) -> Reasoned:
        if summary.state in ("new", "interrupted"):
            reason = why_blocked(self.cells[name], others)
            if reason is not None:
                return Reasoned("blocked", reason)
        return Reasoned(summary.state, summary.reason)

    def _describe(self, name: str, line: Line | None, folders: _Folders) -> RunningCell:
        seen, silent = folders.life(name)
        return RunningCell(
            name,
            line,
            self._outlook.steps(name, line),
            self._outlook.of_running(name, line),
            self._runs.folder(name).host(),
            seen,
            silent,
        )

    def _complete(self, folders: _Folders) -> None:
        """Cells that the grid's file knows by their names alone, as their jobs have them."""
        unknown_cells = [
            n for n, cell in self.cells.items() if cell is None and folders.summary(n) is not NEW
        ]
        jobs: dict[str, Cell] = {}
        for name in unknown_cells:
            with suppress(MtlbenchError):
                jobs[name] = read_job(self._runs.folder(name).job).cell
        if not jobs:
            return
        cells: dict[str, Cell | None] = {}
        for name, cell in self.cells.items():
            _add(cells, cell or jobs.get(name))
            cells.setdefault(name, None)
        self.cells = cells
        self._outlook = Outlook(cell for cell in cells.values() if cell is not None)
        self._learned = set()


def cells_of(rows: Iterable[Mapping[str, Any]]) -> dict[str, Cell | None]:
    """The cells of a grid and those that they start from, these first; None: only its name is known."""
    found: dict[str, Cell | None] = {}
    for row in rows:
        seeds = [int(seed) for seed in row["cells"]]
        with suppress(ValidationError):  # of another version
            for spec in row.get("specs", ()):
                for cell in Cell.model_validate(spec).with_seeds(seeds).values():
                    _add(found, cell)
        for cells in row["cells"].values():
            for name in cells:
                found.setdefault(name, None)
    return found


def _add(cells: dict[str, Cell | None], cell: Cell | None) -> None:
    """A cell after those that it starts from."""
    for one in cell.lineage if cell else []:
        cells.setdefault(one.id, one)


def states_of(states: Mapping[str, str], state: str) -> list[str]:
    """The cells in one state."""
    return [name for name, found in states.items() if found == state]


class _Known(NamedTuple):
    inode: int
    changed: int | None
    summary: Summary


class _Folders:
    """States of cells, from folders that are opened again only where something may have changed."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs
        self._place = runs.root / "cells"
        self._known: dict[str, _Known] | None = None
        self._alive: dict[str, tuple[int, float]] = {}

    def refresh(self, wanted: Collection[str]) -> None:
        try:
            there = {entry.name: entry.inode() for entry in os.scandir(self._place)}
        except FileNotFoundError:
            there = {}
        if self._known is None:
            summaries = self._runs.peek()
            self._known = {n: _Known(there[n], None, s) for n, s in summaries.items() if n in there}
            return
        self._known = {name: known for name, known in self._known.items() if name in there}
        changed = {name: self._change(name) for name in wanted if name in there}
        suspects = {n: change for n, change in changed.items() if self._is_suspect(n, there[n], change)}
        for name, found in survey(self._place, suspects, {}).items():
            self._known[name] = _Known(there[name], suspects[name], found.summary)

    def summary(self, name: str) -> Summary:
        assert self._known is not None
        known = self._known.get(name)
        return NEW if known is None else known.summary

    def last_line(self, name: str) -> Line | None:
        with suppress(OSError):
            return self._runs.folder(name).last_line()
        return None

    def failed_at(self, name: str) -> float:
        with suppress(OSError):
            return os.stat(self._place / name / "failure.json").st_mtime
        return 0.0

    def life(self, name: str) -> tuple[float | None, float]:
        """Time of day of the last sign of life, and for how long none was seen; clocks may jump."""
        try:
            status = self._runs.folder(name).alive.stat()
        except OSError:
            return None, 0.0
        now = time.monotonic()
        if self._alive.get(name, (None, 0.0))[0] != status.st_mtime_ns:
            self._alive[name] = (status.st_mtime_ns, now)
        return status.st_mtime, now - self._alive[name][1]

    def _change(self, name: str) -> int | None:
        """When something was last added to a folder or taken from it; not needed of one that is done."""
        assert self._known is not None
        known = self._known.get(name)
        if known is not None and known.summary.state == "done":
            return known.changed
        with suppress(OSError):
            return os.stat(self._place / name).st_mtime_ns
        return None

    def _is_suspect(self, name: str, inode: int, change: int | None) -> bool:
        """Whether a folder may tell something new.

        A cell that starts or ends changes what is in its folder, but one that gets or loses its lock may not.
        """
        assert self._known is not None
        known = self._known.get(name)
        if known is None or known.inode != inode:
            return True
        if known.summary.state == "done":
            return False
        if known.changed != change or known.summary.state == "running":
            return True
        return known.summary.state not in ("failed", "pruned") and self._runs.folder(name).locked()
