"""Best and default settings of studies at equal budget: all training images, the grid's seeds, validation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from mtlbench.config import Grid
from mtlbench.delta_m import delta_m
from mtlbench.plan import Plan, Row, Setting, expand
from mtlbench.registry import Registry
from mtlbench.results import Results
from mtlbench.search.plans import grid_of_one
from mtlbench.statistics.intervals import interval
from mtlbench.studies.outcome import best_trial
from mtlbench.studies.study import Study

TUNED = "tuned"
_SHARED_WITH_BASELINE = ("tuning", "recipe")
"""Labels by which a row finds its baseline, which is not tuned."""


@dataclass(frozen=True)
class Comparison:
    """An ordinary grid's rows, and which of them belong to which study.

    Attributes:
        rows: (default, tuned) by study; no tuned one where no setting was better than the default.
    """

    name: str
    plan: Plan
    rows: dict[str, tuple[int, int | None]]


def compare_settings(grid: Grid, studies: Sequence[Study], registry: Registry) -> Comparison:
    """Baseline, default and tuned setting of every study that has found one."""
    rows: list[Row] = []
    places: dict[str, tuple[int, int | None]] = {}
    for study in studies:
        best = best_trial(study)
        if best is None:
            continue
        plan = study.plan
        default = _rows(grid, plan.setting, registry)
        for row in default:
            _add(rows, row)
        place = _add(rows, default[-1])
        changed = plan.changed(study.values_of(best.number))
        tuned = None
        if changed != plan.setting:
            tuned = _add(rows, _beside_the_baseline(_rows(grid, changed, registry)[-1], default[-1]))
        places[plan.name] = (place, tuned)
    return Comparison(f"{grid.name}-{TUNED}", Plan(rows), places)


def gains(results: Results, default: int, tuned: int, higher: Mapping[str, bool]) -> list[float]:
    """What tuning gained under each seed, in percent: difference of delta_m where there is a baseline, else
    mean relative gain over the default setting.
    """
    found = results.delta_m.pivot(index="seed", columns="row", values="delta_m")
    if {default, tuned} <= set(found.columns):
        return [float(gain) for gain in (found[tuned] - found[default]).dropna()]
    primary = results.scores[results.scores["primary"]]
    table = primary.pivot(index=["row", "seed"], columns="task", values="value")
    both = [_of_row(table, row) for row in (tuned, default)]
    seeds = both[0].index.intersection(both[1].index)
    pairs = [(both[0].loc[seed].to_dict(), both[1].loc[seed].to_dict()) for seed in seeds]
    return [delta_m(after, before, higher) for after, before in pairs if all(before.values())]


def verdict(found: Sequence[float]) -> str:
    """What these gains allow to be said."""
    if not found:
        return "the comparison is not complete"
    result = interval(found)
    text = f"{result.mean:+.2f} percentage points"
    if result.low is None or result.high is None:
        return f"{text} with one seed: whether tuning helps can't be said; give the grid more seeds"
    text += f" (95 % interval {result.low:+.2f} to {result.high:+.2f}, {result.n} seeds)"
    if result.low > 0:
        return f"{text}: tuning helps"
    if result.high < 0:
        return f"{text}: what was tuned is worse than the default"
    return f"{text}: the interval holds 0, so chance alone may be behind it"


def _of_row(table: pd.DataFrame, row: int) -> pd.DataFrame:
    """Its values by the other levels of the index; none where there are none."""
    return table[table.index.get_level_values("row") == row].droplevel("row")


def _rows(grid: Grid, setting: Setting, registry: Registry) -> list[Row]:
    """The lines of one setting, its baseline before it."""
    return expand(replace(grid_of_one(grid, setting), exclude=[]), registry).rows


def _beside_the_baseline(tuned: Row, default: Row) -> Row:
    """The row under labels by which it finds the default's baseline, and still is told from the default."""
    labels = tuned.labels | {axis: default.labels[axis] for axis in _SHARED_WITH_BASELINE}
    if labels == default.labels:
        label = labels["balancer"]
        labels["balancer"] = f"{label}, {TUNED}" if label else TUNED
    return replace(tuned, labels=labels)


def _add(rows: list[Row], row: Row) -> int:
    """Place of a row; one that several studies share has one."""
    same = (i for i, known in enumerate(rows) if known.role == row.role and known.labels == row.labels)
    place = next(same, None)
    if place is None:
        rows.append(row)
        place = len(rows) - 1
    return place
