"""Which rows are compared with each other, and in what."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mtlbench.entries import DASH
from mtlbench.results import Results, TaskColumn
from mtlbench.table import LABELS, valid_delta_m

COMPARED_WITHIN = ("dataset", "backbone", "tuning", "recipe")
"""Rows that agree on these share a baseline, and are compared with each other; so are rows of all tunings
that are compared with one baseline.
"""
ALL_TUNINGS = "all tunings"
DELTA_M = "delta_m"


@dataclass(frozen=True)
class Group:
    """The rows of one data set, backbone, tuning and recipe.

    Attributes:
        labels: their values, in the order of `COMPARED_WITHIN`.
        candidates: rows.
        baseline: row, -1 where there is none; so with `constant`, the predictor that sees no image (of the
            same data set).
    """

    labels: tuple[str, ...]
    candidates: tuple[int, ...]
    baseline: int
    constant: int

    @property
    def dataset(self) -> str:
        return self.labels[0]

    @property
    def backbone(self) -> str:
        return self.labels[1]


@dataclass(frozen=True)
class Measure:
    """One thing that rows are compared in.

    Attributes:
        name: `delta_m` or the task's.
        sign: 1 where higher is better, else -1.
        values: one line a row that has any, one column a seed, in display units; NaN where there is none.
    """

    name: str
    sign: int
    values: pd.DataFrame

    def of(self, rows: tuple[int, ...]) -> NDArray[np.float64]:
        """(rows, seeds)."""
        return self.values.reindex(list(rows)).to_numpy(dtype=float)


@lru_cache(maxsize=1)
def groups(results: Results) -> tuple[Group, ...]:
    """Those that have candidates, in the order of the rows."""
    rows, found = results.rows, []
    places = rows[list(COMPARED_WITHIN)].assign(tuning=_tunings(rows))
    for labels, placed in places.groupby(list(COMPARED_WITHIN), sort=False, dropna=False):
        members = rows.loc[placed.index]
        roles = members["role"]
        candidates = tuple(int(row) for row in members.index[roles == "candidate"])
        if candidates:
            names = tuple(map(str, labels))
            baseline = _first(members.index[roles == "baseline"])
            found.append(Group(names, candidates, baseline, _constant(rows, names[0])))
    return tuple(found)


def _tunings(rows: pd.DataFrame) -> pd.Series:
    """Each row's, but `ALL_TUNINGS` where rows of several share one baseline, and for that."""
    around = [*zip(rows["dataset"], rows["backbone"], rows["recipe"], strict=True)]
    having: dict[tuple[str, ...], dict[str, set[str]]] = {}
    for place, role, tuning in zip(around, rows["role"], rows["tuning"], strict=True):
        having.setdefault(place, {}).setdefault(role, set()).add(tuning)
    shared = {
        place
        for place, of in having.items()
        if "baseline" in of and of.get("candidate", set()) - of["baseline"]
    }
    return rows["tuning"].mask(np.array([place in shared for place in around], dtype=bool), ALL_TUNINGS)


@lru_cache(maxsize=1)
def measures(results: Results) -> tuple[Measure, ...]:
    """`delta_m` if any row has one, then the tasks; only finite values of tasks that the row trained."""
    found = []
    valid = valid_delta_m(results)
    if len(valid):
        found.append(Measure(DELTA_M, 1, _wide(valid, DELTA_M, 1.0)))
    primary = results.scores[results.scores["primary"].astype(bool)]
    by_task = dict(iter(primary.groupby("task")))
    for task in results.tasks:
        scores = by_task.get(task.name)
        if scores is not None:
            values = _wide(scores[_trained(results, task, scores)], "value", task.scale)
            found.append(Measure(task.name, 1 if task.higher_is_better else -1, values))
    return tuple(found)


def measure(results: Results, name: str) -> Measure | None:
    return next((found for found in measures(results) if found.name == name), None)


def ranking(measure: Measure, rows: tuple[int, ...]) -> list[int]:
    """Rows by their means over seeds, best first: of those that have the most seeds, as tables rank them."""
    values = measure.values.reindex(list(rows))
    counts = values.notna().sum(axis=1)
    full = values[(counts > 0) & (counts == counts.max())]
    means = measure.sign * full.mean(axis=1)
    return [int(row) for row in means.sort_values(ascending=False, kind="stable").index]


@lru_cache(maxsize=1)
def row_names(results: Results) -> dict[int, str]:
    """What tells rows from each other: the labels that vary over rows, and the method.

    Candidates that are all of one method are known by the rest.
    """
    labels = results.rows[[*LABELS]].astype(str)
    blank = ("", "-", DASH)
    candidates = labels[results.rows["role"] == "candidate"]
    varying = [name for name in LABELS if name == "method" or len({*labels[name]} - {*blank}) > 1]
    telling = [name for name in varying if candidates[name].nunique() > 1]
    short = telling if len(candidates[telling].drop_duplicates()) == len(candidates) else varying
    names = {}
    for row, line in zip(labels.index, labels[varying].to_dict("records"), strict=True):
        shown = short if row in candidates.index and short else varying
        names[int(row)] = " · ".join(line[name] for name in shown if line[name] not in blank) or DASH
    return names


def seeds(results: Results) -> int:
    """How many have scores."""
    return len(set().union(*(found.values.columns for found in measures(results))))


def _trained(results: Results, task: TaskColumn, scores: pd.DataFrame) -> list[bool]:
    """Of each score, whether its row trained the task (a reference has nothing to train) and it is finite."""
    rows = results.rows
    learned = {
        row
        for row, role, trained in zip(rows.index, rows["role"], rows["trained"], strict=True)
        if role == "reference" or task.name in trained
    }
    values = scores["value"].to_numpy(dtype=float, na_value=np.nan)
    return [
        row in learned and bool(np.isfinite(value)) for row, value in zip(scores["row"], values, strict=True)
    ]


def _wide(frame: pd.DataFrame, value: str, scale: float) -> pd.DataFrame:
    numbers = frame[["row", "seed"]].assign(value=frame[value].to_numpy(dtype=float) * scale)
    return numbers.pivot(index="row", columns="seed", values="value").sort_index(axis="columns")


def _first(rows: pd.Index) -> int:
    return int(next(iter(rows), -1))


def _constant(rows: pd.DataFrame, dataset: str) -> int:
    names = rows["method"].astype(str).str.lower()
    return _first(
        rows.index[
            (rows["role"] == "reference") & (rows["dataset"] == dataset) & names.str.contains("constant")
        ]
    )
