"""Two folders of runs side by side: the same settings, the same seeds, what their scores differ by.

A setting is a cell without its seed. Two settings are compared if they are the same (then so are the ids of
their cells), or if not, if the rows of grids that they belong to have the same labels and tasks.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean
from typing import Literal

from mtlbench.differing import Change, changes, same
from mtlbench.errors import MtlbenchError
from mtlbench.folder import Result, TaskRecord
from mtlbench.loaded import AXES, cells_of, results
from mtlbench.registry import unknown
from mtlbench.spec import Cell
from mtlbench.statistics.intervals import Interval, interval
from mtlbench.store import Runs

LABELS = (*AXES, "recipe", "protocol")
How = Literal["id", "labels"]


@dataclass(frozen=True)
class Setting:
    """What a folder holds of a setting.

    Attributes:
        labels: `LABELS` as the grid prints them, or as the cell spells them where no grid has it.
        cell: under seed 0.
        results: of each seed that is done.
    """

    labels: Mapping[str, str]
    cell: Cell
    results: Mapping[int, Result]

    @property
    def printed(self) -> tuple[object, ...]:
        """Equal for settings that tables can't tell apart."""
        stages = tuple((cell.tasks, cell.trained) for cell in self.cell.stages)
        return (*(self.labels[name] for name in LABELS), stages)


@dataclass(frozen=True)
class Pair:
    """A setting in both folders, and how it was found."""

    a: Setting
    b: Setting
    how: How

    @cached_property
    def seeds(self) -> tuple[int, ...]:
        """Those that both have."""
        return tuple(sorted({*self.a.results} & {*self.b.results}))

    def identical(self, seed: int, task: str | None = None) -> bool:
        """Whether every score (of a task) is the same, bit for bit."""
        a, b = (side.results[seed].scores for side in (self.a, self.b))
        return same(a, b) if task is None else same(a[task], b[task])


@dataclass(frozen=True)
class Line:
    """A task's primary metric of a pair, in display units.

    Attributes:
        a, b: means over the seeds that both have.
        difference: b minus a, seed by seed, with its interval.
        seeds: that the means are over.
        identical: all scores of the task are the same bit for bit, in every seed.
    """

    labels: Mapping[str, str]
    task: str
    record: TaskRecord
    how: How
    a: float
    b: float
    difference: Interval
    seeds: tuple[int, ...]
    identical: bool

    @property
    def verdict(self) -> Literal["identical", "b better", "b worse", ""]:
        """Empty where the interval holds 0 or there is none."""
        low, high = self.difference.low, self.difference.high
        if self.identical:
            return "identical"
        if low is None or high is None or low <= 0 <= high:
            return ""
        return "b better" if (low > 0) == self.record.higher_is_better else "b worse"


@dataclass(frozen=True)
class Alone:
    """Seeds of a setting that one folder lacks."""

    side: Literal["a", "b"]
    setting: Setting
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Comparison:
    """All that there is to say of two folders.

    Attributes:
        changes: in code, versions, hardware, data, and in what the settings are.
        cells: how many pairs of cells were compared; `identical` of them agree in every score, bit for bit.
        others: tasks of pairs that can't be compared, and why.
    """

    lines: tuple[Line, ...]
    alone: tuple[Alone, ...]
    changes: tuple[Change, ...]
    cells: int
    identical: int
    others: tuple[str, ...]


def compare(a: Runs, b: Runs, grid: str | None = None) -> Comparison:
    """Two folders, or one grid of both; trials of studies are left out.

    Raises:
        MtlbenchError: there are no runs in one, it lacks the grid, or nothing is in both.
    """
    ours, theirs = settings(a, grid), settings(b, grid)
    pairs = _pairs(ours, theirs)
    if not any(pair.seeds for pair in pairs):
        raise MtlbenchError(_nothing(a, b, ours, theirs))
    compared = [(pair, seed) for pair in pairs for seed in pair.seeds]
    both = [(pair.a.results[seed], pair.b.results[seed]) for pair, seed in compared]
    found = [line for pair in pairs for line in _lines(pair)]
    return Comparison(
        lines=tuple(line for line in found if isinstance(line, Line)),
        alone=tuple(_alone(pairs, ours, theirs)),
        changes=tuple(changes(both)),
        cells=len(compared),
        identical=sum(pair.identical(seed) for pair, seed in compared),
        others=tuple(dict.fromkeys(line for line in found if isinstance(line, str))),
    )


def settings(runs: Runs, grid: str | None) -> dict[str, Setting]:
    """Canonical text of a setting -> the setting, of cells that are done; in the order of the grids' rows.

    Raises:
        MtlbenchError: there are no runs here, or no such grid.
    """
    grids = runs.grids()
    if grid is not None and grid not in grids:
        raise MtlbenchError(unknown(f"grid in {runs.root}", grid, sorted(grids)))
    wanted = None if grid is None else cells_of(runs, grid)
    chosen = grids.values() if grid is None else [grids[grid]]
    labels = {
        id: row["labels"] for rows in chosen for row in rows for ids in row["cells"].values() for id in ids
    }
    order = {id: i for i, id in enumerate(labels)}
    found: dict[str, tuple[Mapping[str, str], Cell, dict[int, Result]]] = {}
    done = [(id, result) for id, result in results(runs, wanted) if not result.cell.holdout]
    for id, result in sorted(done, key=lambda entry: order.get(entry[0], len(order))):
        cell = result.cell.with_seeds([0])[0]
        entry = found.setdefault(cell.canonical, (_labels(labels.get(id, {}), cell), cell, {}))
        entry[2][result.cell.seed] = result
    return {key: Setting(*entry) for key, entry in found.items()}


def _labels(printed: Mapping[str, str], cell: Cell) -> dict[str, str]:
    spelt = {axis: str(getattr(cell, axis)) for axis in AXES}
    return dict.fromkeys(LABELS, "") | spelt | {"recipe": cell.recipe.canonical} | dict(printed)


def _pairs(ours: Mapping[str, Setting], theirs: Mapping[str, Setting]) -> list[Pair]:
    """By what settings are; of the rest by labels, where these mean one setting on either side."""
    left = Counter(setting.printed for key, setting in ours.items() if key not in theirs)
    right = [setting for key, setting in theirs.items() if key not in ours]
    counts = Counter(setting.printed for setting in right)
    labelled = {s.printed: s for s in right if counts[s.printed] == left[s.printed] == 1}
    pairs = []
    for key, setting in ours.items():
        if key in theirs:
            pairs.append(Pair(setting, theirs[key], "id"))
        elif setting.printed in labelled:
            pairs.append(Pair(setting, labelled[setting.printed], "labels"))
    return pairs


def _lines(pair: Pair) -> Iterator[Line | str]:
    """A line for each task, or why there is none."""
    if not pair.seeds:
        return
    a, b = ([side.results[seed] for seed in pair.seeds] for side in (pair.a, pair.b))
    for task, record in a[0].tasks.items():
        metric, other = record.metric, b[0].tasks[task].metric
        if metric != other:
            yield f"{task}: its metric is {metric} in A and {other} in B"
            continue
        both = [_both(x, y, task, metric) for x, y in zip(a, b, strict=True)]
        finite = [i for i, values in enumerate(both) if all(map(math.isfinite, values))]
        seeds = tuple(pair.seeds[i] for i in finite)
        if not seeds:
            yield f"{task}: {metric} is not finite"
            continue
        values = [(record.scale * both[i][0], record.scale * both[i][1]) for i in finite]
        yield Line(
            labels=pair.a.labels,
            task=task,
            record=record,
            how=pair.how,
            a=fmean(x for x, _ in values),
            b=fmean(y for _, y in values),
            difference=interval([y - x for x, y in values]),
            seeds=seeds,
            identical=all(pair.identical(seed, task) for seed in pair.seeds),
        )


def _both(a: Result, b: Result, task: str, metric: str) -> tuple[float, float]:
    """A seed's two scores; NaN where an older result lacks the metric."""
    return a.scores[task].get(metric, math.nan), b.scores[task].get(metric, math.nan)


def _alone(
    pairs: Sequence[Pair], ours: Mapping[str, Setting], theirs: Mapping[str, Setting]
) -> Iterator[Alone]:
    partners = {id(pair.a): pair.b for pair in pairs} | {id(pair.b): pair.a for pair in pairs}
    sides: tuple[tuple[Literal["a", "b"], Mapping[str, Setting]], ...] = (("a", ours), ("b", theirs))
    for side, known in sides:
        for setting in known.values():
            partner = partners.get(id(setting))
            missing = {*setting.results} - {*(partner.results if partner else ())}
            if missing:
                yield Alone(side, setting, tuple(sorted(missing)))


def _nothing(a: Runs, b: Runs, ours: Mapping[str, Setting], theirs: Mapping[str, Setting]) -> str:
    """Why no pair was found: labels of which the two have no value in common."""
    empty = [str(runs.root) for runs, found in ((a, ours), (b, theirs)) if not found]
    if empty:
        return f"nothing to compare: no cell is done in {' and '.join(empty)}"
    values = {
        name: tuple({s.labels[name] for s in found.values()} for found in (ours, theirs)) for name in LABELS
    }
    apart = [
        f"{name}: {_some(left)} / {_some(right)}"
        for name, (left, right) in values.items()
        if not left & right
    ]
    return "\n".join(
        [
            f"nothing to compare: {a.root} and {b.root} have no cell in common, nor rows of the same labels",
            *(apart or ["their rows differ in labels, tasks or seeds"]),
        ]
    )


def _some(values: set[str]) -> str:
    return ", ".join(sorted(values)[:3]) + (" ..." if len(values) > 3 else "")
