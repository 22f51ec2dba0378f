"""The main table of a report: every number formatted once, for all renderers and the terminal.

Three rules keep it honest. Only finite numbers enter a mean, and a mean over fewer seeds than the grid has
says so and is not ranked. A missing number is a dash. `delta_m` counts for a seed only if every task has a
score there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd

from mtlbench.entries import DASH, Entry, decimals_for, summarise
from mtlbench.results import Results, TaskColumn

LABELS = ("dataset", "backbone", "method", "balancer", "tuning", "recipe", "protocol")
ROLES = ("reference", "baseline", "candidate")


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        name: key: a label's or a task's name, `delta_m`, `parameters`, `macs`, `train_seconds` or `state`.
        heading: with its unit, without arrow and group.
        kind: what its entries are.
        group: the task, over the columns that belong to it; empty elsewhere.
        higher_is_better: direction; None where there is none, or none that is ranked.
    """

    name: str
    heading: str
    kind: Literal["label", "metric", "delta_m", "cost", "state"]
    group: str = ""
    higher_is_better: bool | None = None

    @property
    def numeric(self) -> bool:
        return self.kind in ("metric", "delta_m", "cost")

    @property
    def title(self) -> str:
        """The heading with its arrow: up where higher is better, down where lower is."""
        arrow = {True: " ↑", False: " ↓", None: ""}[self.higher_is_better]
        return self.heading + arrow


@dataclass(frozen=True)
class Line:
    """One line of the table: a row of the results, its entries in the order of the columns.

    Attributes:
        block: lines of one block stand together: (data set, role); a rule goes between blocks.
    """

    row: int
    role: str
    state: str
    block: tuple[str, str]
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Table:
    """What every renderer prints.

    Attributes:
        shared: the labels that are the same in every row, which a caption has to say instead.
        seeds: how many the grid has.
    """

    columns: tuple[Column, ...]
    lines: tuple[Line, ...]
    shared: Mapping[str, str]
    seeds: int

    def name(self, line: Line) -> str:
        """What tells a line from the others: its labels that vary."""
        pairs = zip(self.columns, line.entries, strict=True)
        return " · ".join(e.value for c, e in pairs if c.kind == "label" and e.value != DASH) or DASH

    def names(self) -> dict[int, str]:
        """Row -> name, in the order of the table."""
        return {line.row: self.name(line) for line in self.lines}

    def of_columns(self, lines: Sequence[Line], columns: Sequence[tuple[Column, list[Entry]]]) -> Table:
        """Some of its lines, with other columns: each with its entries, one per line."""
        entries = [tuple(found[i] for _, found in columns) for i in range(len(lines))]
        return replace(
            self,
            columns=tuple(column for column, _ in columns),
            lines=tuple(replace(line, entries=e) for line, e in zip(lines, entries, strict=True)),
        )

    def index(self, name: str) -> int:
        """Place of the column `name`."""
        return next(i for i, column in enumerate(self.columns) if column.name == name)


def tabulate(results: Results) -> Table:
    """The table of a grid's results; rows in the order reference, baseline, candidates of each data set."""
    rows = _ordered(results.rows)
    seeds = _seeds(results)
    shared = _shared(rows)
    listed = [_label(rows, name) for name in LABELS if name not in shared]
    listed += [_metric(results, rows, task, seeds) for task in results.tasks]
    if not results.delta_m.empty:
        listed.append(_delta_m(results, rows, seeds))
    listed += _costs(results.costs, rows, seeds)
    if (rows["state"] != "done").any():
        listed.append((Column("state", "state", "state"), [Entry(str(s)) for s in rows["state"]]))
    return Table(
        columns=tuple(column for column, _ in listed),
        lines=_lines(rows, [entries for _, entries in listed]),
        shared=shared,
        seeds=seeds,
    )


def valid_delta_m(results: Results) -> pd.DataFrame:
    """`delta_m` of the seeds in which every task has a finite primary score.

    Never a mean over fewer tasks.
    """
    primary = results.scores[results.scores["primary"].astype(bool)]
    finite = primary[_finite(primary["value"])]
    tasks = {task.name for task in results.tasks}
    complete = {key for key, group in finite.groupby(["row", "seed"])["task"] if tasks <= set(group)}
    keys = zip(results.delta_m["row"], results.delta_m["seed"], strict=True)
    kept = np.array([key in complete for key in keys], dtype=bool)
    return results.delta_m[kept & _finite(results.delta_m["delta_m"])]


def _finite(values: pd.Series) -> np.ndarray:
    return np.isfinite(values.to_numpy(dtype=float, na_value=np.nan))


def _lines(rows: pd.DataFrame, columns: list[list[Entry]]) -> tuple[Line, ...]:
    return tuple(
        Line(int(row), role, str(state), (str(dataset), role), tuple(column[i] for column in columns))
        for i, (row, role, state, dataset) in enumerate(
            zip(rows.index, rows["role"], rows["state"], rows["dataset"], strict=True)
        )
    )


def _ordered(rows: pd.DataFrame) -> pd.DataFrame:
    datasets = list(dict.fromkeys(rows["dataset"]))
    keys = [
        (datasets.index(dataset), ROLES.index(role))
        for dataset, role in zip(rows["dataset"], rows["role"], strict=True)
    ]
    return rows.iloc[sorted(range(len(rows)), key=keys.__getitem__)]


def _seeds(results: Results) -> int:
    """How many the grid asks for (its caption lists them), also while none of the rows has them all."""
    planned = {int(s) for s in results.captions.get("seeds", "").split(",") if s.strip().isdigit()}
    return len({*planned, *results.scores["seed"], *results.costs["seed"], *results.delta_m["seed"]})


def _blank(label: object) -> bool:
    return not isinstance(label, str) or label.strip() in ("", "-", DASH)


def _shared(rows: pd.DataFrame) -> dict[str, str]:
    """Labels with one value; blanks (a label that doesn't apply to a row) don't count as another value.

    The method always stays in the table: a line needs a name.
    """
    values = {name: {v for v in rows[name] if not _blank(v)} for name in LABELS if name != "method"}
    return {name: next(iter(found), "") for name, found in values.items() if len(found) <= 1}


def _label(rows: pd.DataFrame, name: str) -> tuple[Column, list[Entry]]:
    return Column(name, name, "label"), [Entry(DASH if _blank(v) else v) for v in rows[name]]


def _values(
    frame: pd.DataFrame, value: str, rows: pd.DataFrame, scale: float = 1.0
) -> dict[int, list[float]]:
    """Row -> its finite values, one a seed, scaled."""
    found: dict[int, list[float]] = {int(row): [] for row in rows.index}
    for row, x in zip(frame["row"], frame[value], strict=True):
        if row in found and math.isfinite(x):
            found[int(row)].append(float(x) * scale)
    return found


def _metric(results: Results, rows: pd.DataFrame, task: TaskColumn, seeds: int) -> tuple[Column, list[Entry]]:
    scores = results.scores
    chosen = scores[(scores["task"] == task.name) & scores["primary"].astype(bool)]
    values = _values(chosen, "value", rows, task.scale)
    decimals = decimals_for(x for xs in values.values() for x in xs)
    column = Column(task.name, task.heading, "metric", task.name, task.higher_is_better)
    entries = [summarise(xs, decimals, seeds) for xs in values.values()]
    return column, _ranked(entries, rows, decimals, seeds, task.higher_is_better)


def _delta_m(results: Results, rows: pd.DataFrame, seeds: int) -> tuple[Column, list[Entry]]:
    values = _values(valid_delta_m(results), "delta_m", rows)
    column = Column("delta_m", "Δm (%)", "delta_m", higher_is_better=True)
    entries = [summarise(xs, 2, seeds, signed=True) for xs in values.values()]
    return column, _ranked(entries, rows, 2, seeds, higher_is_better=True)


def _ranked(
    entries: list[Entry], rows: pd.DataFrame, decimals: int, seeds: int, higher_is_better: bool
) -> list[Entry]:
    """Mark best and second best among the candidates of each data set that have every seed.

    Numbers that print alike share a rank. One candidate alone is not the best of anything, and of two the
    other is not worth a mark.
    """
    ranked = list(entries)
    sign = 1 if higher_is_better else -1
    for dataset in dict.fromkeys(rows["dataset"]):
        rivals = {
            i: sign * round(entry.mean, decimals)
            for i, entry in enumerate(entries)
            if entry.mean is not None
            and entry.seeds == seeds
            and (rows["role"].iloc[i], rows["dataset"].iloc[i]) == ("candidate", dataset)
        }
        places = sorted(set(rivals.values()), reverse=True)
        for i, value in rivals.items():
            if value == places[0] and len(rivals) > 1:
                ranked[i] = replace(entries[i], rank="best")
            elif len(places) > 1 and value == places[1] and len(rivals) > 2:
                ranked[i] = replace(entries[i], rank="second")
    return ranked


def _costs(costs: pd.DataFrame, rows: pd.DataFrame, seeds: int) -> list[tuple[Column, list[Entry]]]:
    """Parameters, multiply-accumulates and training time, each if any row has it."""
    seconds = costs["train_seconds"].max() if _finite(costs["train_seconds"]).any() else 0.0
    unit, length = ("h", 3600.0) if seconds >= 7200 else ("min", 60.0) if seconds >= 120 else ("s", 1.0)
    listed = []
    for name, heading, scale in (
        ("parameters", "params (M)", 1e-6),
        ("macs", "GMACs", 1e-9),
        ("train_seconds", f"training ({unit})", 1 / length),
    ):
        values = _values(costs, name, rows, scale)
        largest = max((x for xs in values.values() for x in xs), default=None)
        if largest is None:
            continue
        decimals = 1 if largest >= 10 else 2
        # Counts don't depend on the seed: only the time says over how many it is a mean.
        of = seeds if name == "train_seconds" else 1
        entries = [summarise(xs, decimals, of, spread=False) for xs in values.values()]
        listed.append((Column(name, heading, "cost"), entries))
    return listed
