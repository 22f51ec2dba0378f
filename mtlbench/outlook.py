"""How long cells still take: from what like cells took, and from how far those are that run."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from mtlbench.estimate import Basis, Estimator, Speed
from mtlbench.spec import Cell
from mtlbench.summaries import Summary

Line = Mapping[str, Any]
"""Of a cell's `history.jsonl`."""
ENDED = ("done", "failed", "pruned", "blocked")
"""States in which nothing is left to do for now."""
ENOUGH = 20
"""Cells of one kind that are learned from; more would say the same."""


class Left(NamedTuple):
    """Seconds that cells still take one after the other, and until the last has ended.

    Attributes:
        wall: with as many at a time as were seen; None while none runs.
    """

    work: float
    wall: float | None

    def __str__(self) -> str:
        if self.wall is None:
            return f"nothing runs now; about {duration(self.work)} of cells left"
        return f"about {duration(self.wall)} left"


class Outlook:
    """Of the cells of one grid.

    Args:
        cells: those of which anything will be asked.
        count_steps: of a cell whose length is in epochs; default: known from cells of the same length only.
    """

    def __init__(self, cells: Iterable[Cell], count_steps: Callable[[Cell], int] | None = None) -> None:
        self._cells = {cell.id: cell for cell in cells}
        self._count_steps = count_steps
        groups: dict[object, int] = {}
        self._groups = {name: groups.setdefault(c.kind, len(groups)) for name, c in self._cells.items()}
        self._examples = {self._groups[name]: cell for name, cell in self._cells.items()}
        self._estimator = Estimator()
        self._learned: Counter[int] = Counter()
        self._known: dict[int, tuple[Speed, Basis] | None] = {}
        self._lengths: dict[str, int] = {}
        self._most_running = 0

    def learn(self, summaries: Mapping[str, Summary]) -> None:
        """Take in cells that are done; each once."""
        for name, summary in summaries.items():
            cell, group = self._cells.get(name), self._groups.get(name, -1)
            if cell is None or summary.iterations is None or self._learned[group] == ENOUGH:
                continue
            self._learned[group] += 1
            self._known.clear()
            self._lengths[_length(cell)] = summary.iterations
            self._estimator.learn([cell], {name: summary})

    def steps(self, name: str, line: Line | None = None) -> int | None:
        """Optimizer steps of a cell; None where its length is in epochs of unknown length."""
        cell = self._cells.get(name)
        if line is not None and "iterations" in line:
            found = int(line["iterations"])
            if cell is not None:
                self._lengths[_length(cell)] = found
            return found
        if cell is None:
            return None
        if cell.recipe.epochs is None:
            return cell.recipe.iterations
        if _length(cell) not in self._lengths and self._count_steps is not None:
            self._lengths[_length(cell)] = self._count_steps(cell)
        return self._lengths.get(_length(cell))

    def of_running(self, name: str, line: Line | None) -> float | None:
        """Seconds that a cell still takes which has come to `line`."""
        steps = self.steps(name, line)
        if line is None or steps is None:
            return None
        known = self._speed(self._groups.get(name, -1))
        evaluation = known[0].evaluation if known else 0.0
        return (steps - int(line["step"])) * _step_seconds(line) + evaluation

    def left(self, states: Mapping[str, str], lines: Mapping[str, Line]) -> Left | None:
        """What all cells together still take.

        Args:
            states: of all cells.
            lines: the last ones of cells that have begun and not ended.

        Returns:
            None where some cell is like none that ever ran.
        """
        running = sum(state == "running" for state in states.values())
        self._most_running = max(self._most_running, running)
        begun = {name: self.of_running(name, line) for name, line in lines.items()}
        counts = Counter(
            self._groups.get(name, -1)
            for name, state in states.items()
            if state not in ENDED and begun.get(name) is None
        )
        speeds = self._present_speeds(lines)
        whole = {group: self._whole(group, speeds) for group in counts}
        parts = [seconds for seconds in begun.values() if seconds is not None]
        if any(seconds is None for seconds in whole.values()):
            return None
        known = {group: seconds for group, seconds in whole.items() if seconds is not None}
        work = sum(parts) + sum(known[group] * count for group, count in counts.items())
        chains = (self._chain(group, known, begun, states) for group in counts if group in self._examples)
        longest = max([*parts, *chains], default=0.0)
        return Left(work, max(work / self._most_running, longest) if running else None)

    def _speed(self, group: int) -> tuple[Speed, Basis] | None:
        """As cells that are done had it."""
        if group not in self._known:
            example = self._examples.get(group)
            self._known[group] = None if example is None else self._estimator.speed_of(example)
        return self._known[group]

    def _whole(self, group: int, speeds: Mapping[int, list[float]]) -> float | None:
        """Seconds of a cell from its start: as like ones took, else as like ones run, else as all do."""
        example = self._examples.get(group)
        steps = None if example is None else self.steps(example.id)
        if example is None or steps is None:
            return None
        found = self._speed(group)
        speed = found[0] if found else None
        if group in speeds and (found is None or found[1] != "measured"):
            speed = Speed(statistics.median(speeds[group]), speed.evaluation if speed else 0.0)
        elif speed is None and speeds:
            speed = Speed(statistics.median(one for several in speeds.values() for one in several), 0.0)
        return None if speed is None else steps * speed.step + speed.evaluation

    def _present_speeds(self, lines: Mapping[str, Line]) -> dict[int, list[float]]:
        """Seconds of a step of cells that have begun, by group."""
        found = defaultdict(list)
        for name, line in lines.items():
            found[self._groups.get(name, -1)].append(_step_seconds(line))
        return found

    def _chain(
        self,
        group: int,
        whole: Mapping[int, float],
        begun: Mapping[str, float | None],
        states: Mapping[str, str],
    ) -> float:
        """A cell of a group after all that it has to wait for."""

        def left(cell: Cell) -> float:
            if states.get(cell.id, "done") in ENDED:
                return 0.0
            part = begun.get(cell.id)
            return whole.get(self._groups[cell.id], 0.0) if part is None else part

        return self._examples[group].longest_path(left)


def duration(seconds: float) -> str:
    """`2 d 03 h`, `1 h 05 min`, `3 min 20 s`, `12 s`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours_of_day = divmod(hours, 24)
    if days:
        return f"{days} d {hours_of_day:02d} h"
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def _length(cell: Cell) -> str:
    """Equal for cells that take equally many steps."""
    return f"{cell.dataset.canonical} {cell.holdout} {cell.recipe.canonical}"


def _step_seconds(line: Line) -> float:
    return float(line["seconds"]) / max(1, int(line["step"]))
