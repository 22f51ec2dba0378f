"""The table of a grid's results: every number formatted once, for all renderers and the terminal.

Four rules keep it honest. Only finite numbers enter a mean, and a mean over fewer seeds than the grid has
says so and is not ranked. A missing number is a dash. The score of a task that a row did not train has a
dagger and is not ranked. `delta_m` counts for a seed only if every task was trained and has a score there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Literal
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd

from mtlbench.entries import DAGGER, DASH, Entry, Spread, decimals_for, summarise
from mtlbench.layouts.settings import LABEL_NAMES
from mtlbench.results import Results, TaskColumn, whole_rows

LABELS = LABEL_NAMES
ROLES = ("reference", "baseline", "candidate")
PUBLISHED = "published"
"""The role of a line that a paper printed."""
RANKED_WITHIN = ("dataset", "backbone")


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        name: key: a label's or a task's name, a metric's full name, `delta_m`, a cost, `state`, an option.
        heading: with its unit, without arrow and group.
        kind: what its entries are.
        group: the task (or the option), over the columns that belong to it; empty elsewhere.
        higher_is_better: direction; None where there is none, or none that is ranked.
        metric: of a metric: full name of the variant.
    """

    name: str
    heading: str
    kind: Literal["label", "metric", "delta_m", "cost", "state"]
    group: str = ""
    higher_is_better: bool | None = None
    metric: str = ""

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
    """One line of the table: a row of the results, or of a paper's table, with its entries.

    Attributes:
        row: of the results; -1 for a line that a paper printed.
        block: lines of one block stand together: (data set, role), and the group where there are several; a
            rule goes between blocks.
        entries: in the order of the columns.
        published: name of the paper's table that the line is from; empty for ours.
        remark: what a reader must know of it.
    """

    row: int
    role: str
    state: str
    block: tuple[str, ...]
    entries: tuple[Entry, ...]
    published: str = ""
    remark: str = ""


@dataclass(frozen=True)
class Table:
    """What every renderer prints.

    Attributes:
        shared: the labels that are the same in every row, which a caption has to say instead.
        seeds: how many the grid has.
        layout: the name of the form that it has.
        spread: what stands behind means.
        notes: what a caption must say of lines that papers printed: sentences.
    """

    columns: tuple[Column, ...]
    lines: tuple[Line, ...]
    shared: Mapping[str, str]
    seeds: int
    layout: str = ""
    spread: Spread = "std"
    notes: tuple[str, ...] = ()

    def name(self, line: Line) -> str:
        """What tells a line from the others: its labels that vary."""
        pairs = zip(self.columns, line.entries, strict=True)
        return (
            " · ".join(e.value for c, e in pairs if c.kind == "label" and e.value not in ("", DASH)) or DASH
        )

    def names(self) -> dict[int, str]:
        """Row -> name, in the order of the table."""
        return {line.row: self.name(line) for line in self.lines if not line.published}

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


@dataclass(frozen=True, eq=False)
class Sheet:
    """What columns are made of.

    Attributes:
        rows: of the results, in the order of the lines.
        seeds: how many the grid has.
        shared: labels that are the same in every row.
        group: the label by which lines stand together; empty: none.
        spread: what stands behind means.
    """

    results: Results
    rows: pd.DataFrame
    seeds: int
    shared: Mapping[str, str]
    group: str = ""
    spread: Spread = "std"
    rivals: list[tuple[str, ...]] = field(default_factory=list)
    """Of each row: rows that have the same are ranked together."""


Listed = tuple[Column, list[Entry]]
"""A column with its entries, one a row of the sheet."""
_TABLES: WeakKeyDictionary[Results, Table] = WeakKeyDictionary()


def tabulate(results: Results) -> Table:
    """All rows and what all have; in the order reference, baseline, candidates of each data set.

    Layouts (`mtlbench.layouts`) choose columns, order and company; names and numbers are the same there.
    """
    if results not in _TABLES:
        sheet = sheet_of(results)
        listed = [label(sheet, name) for name in LABELS if name not in sheet.shared]
        listed += [metric(sheet, task) for task in results.tasks]
        if not results.delta_m.empty:
            listed.append(delta_m(sheet))
        listed += [found for name in ("parameters", "macs", "train_seconds") if (found := known(sheet, name))]
        _TABLES[results] = assembled(sheet, [*listed, *state(sheet)])
    return _TABLES[results]


def sheet_of(results: Results, *, group: str = "", spread: Spread = "std") -> Sheet:
    """The rows of a grid, ordered by data set, group and role."""
    rows = _ordered(results.rows, group)
    rivals = list(zip(*(rows[name] for name in RANKED_WITHIN), strict=True))
    return Sheet(results, rows, _seeds(results), _shared(rows), group, spread, rivals)


def assembled(sheet: Sheet, listed: Sequence[Listed], layout: str = "") -> Table:
    """The table of some columns."""
    rows, columns = sheet.rows, [entries for _, entries in listed]
    several = sheet.group and rows[sheet.group].nunique() > 1
    groups = rows[sheet.group] if several else [""] * len(rows)
    lines = tuple(
        Line(
            int(row),
            role,
            str(how),
            (str(dataset), role, str(group)) if several else (str(dataset), role),
            tuple(column[i] for column in columns),
        )
        for i, (row, role, how, dataset, group) in enumerate(
            zip(rows.index, rows["role"], rows["state"], rows["dataset"], groups, strict=True)
        )
    )
    return Table(
        tuple(column for column, _ in listed), lines, sheet.shared, sheet.seeds, layout, sheet.spread
    )


@lru_cache(maxsize=1)
def valid_delta_m(results: Results) -> pd.DataFrame:
    """`delta_m` of the seeds in which every task was trained and has a finite primary score.

    Never a mean over fewer tasks.
    """
    primary = results.scores[results.scores["primary"].astype(bool)]
    finite = primary[_finite(primary["value"])]
    whole = whole_rows(results.rows)
    tasks = {row: set(of_row) for row, of_row in results.rows["evaluated"].items() if row in whole}
    found: dict[tuple[int, int], set[str]] = {}
    for row, seed, task in zip(finite["row"], finite["seed"], finite["task"], strict=True):
        found.setdefault((row, seed), set()).add(task)
    complete = {key for key, there in found.items() if key[0] in tasks and tasks[key[0]] <= there}
    keys = zip(results.delta_m["row"], results.delta_m["seed"], strict=True)
    kept = np.array([key in complete for key in keys], dtype=bool)
    return results.delta_m[kept & _finite(results.delta_m["delta_m"])]


def label(sheet: Sheet, name: str) -> Listed:
    """A label of `LABELS`; a dash where it doesn't apply."""
    return Column(name, name, "label"), [Entry(DASH if _blank(v) else v) for v in sheet.rows[name]]


def metric(sheet: Sheet, task: TaskColumn, name: str | None = None) -> Listed:
    """One variant of one task; `name` of the column is the task's unless told."""
    scores, rows = sheet.results.scores, sheet.rows
    values = _values(
        scores[(scores["task"] == task.name) & (scores["metric"] == task.metric)], "value", rows, task.scale
    )
    trained = [task.name in tasks for tasks in rows["trained"]]
    decimals = decimals_for(
        x for xs, learned in zip(values.values(), trained, strict=True) for x in xs if learned
    )
    column = Column(name or task.name, task.heading, "metric", task.name, task.higher_is_better, task.metric)
    made = [summarise(xs, decimals, sheet.seeds, spread=sheet.spread) for xs in values.values()]
    entries = [e if learned else _untrained(e) for e, learned in zip(made, trained, strict=True)]
    return column, _ranked(entries, sheet, decimals, higher_is_better=task.higher_is_better)


def delta_m(sheet: Sheet) -> Listed:
    """The mean relative gain over the baseline, in percent."""
    values = _values(valid_delta_m(sheet.results), "delta_m", sheet.rows)
    column = Column("delta_m", "Δm (%)", "delta_m", higher_is_better=True)
    entries = [summarise(xs, 2, sheet.seeds, signed=True, spread=sheet.spread) for xs in values.values()]
    return column, _ranked(entries, sheet, 2, higher_is_better=True)


COSTS = {
    "parameters": ("params (M)", 1e-6),
    "encoder_trainable": ("encoder trainable (M)", 1e-6),
    "decoder_trainable": ("decoder trainable (M)", 1e-6),
    "total_trainable": ("trainable (M)", 1e-6),
    "macs": ("GMACs", 1e-9),
    "module_macs": ("module GMACs", 1e-9),
    "train_seconds": ("training", 1.0),
    "gpu_hours": ("GPU hours", 1.0),
    "images_per_second": ("images/s", 1.0),
    "peak_memory_mb": ("memory (MB)", 1.0),
}
"""Headings, and factors to the unit that they say."""
_TRAINABLE = ("encoder_trainable", "decoder_trainable", "total_trainable")
_COUNTS = ("parameters", "macs", "module_macs", *_TRAINABLE)


def cost(sheet: Sheet, name: str) -> Listed:
    """One of `COSTS`; the unit of times is one that fits."""
    results = sheet.results
    frame = results.costs if name in results.costs.columns else results.efforts
    heading, scale = COSTS[name]
    if name == "train_seconds":
        seconds = frame[name].max() if _finite(frame[name]).any() else 0.0
        unit, length = ("h", 3600.0) if seconds >= 7200 else ("min", 60.0) if seconds >= 120 else ("s", 1.0)
        heading, scale = f"{heading} ({unit})", 1 / length
    values = _values(frame, name, sheet.rows, scale)
    largest = max((x for xs in values.values() for x in xs), default=0.0)
    decimals = 3 if name in _TRAINABLE else 1 if largest >= 10 else 2  # adapters may be thousands of numbers
    # Counts don't depend on the seed: only what is measured says over how many it is a mean.
    of = 1 if name in _COUNTS else sheet.seeds
    return Column(name, heading, "cost"), [
        summarise(xs, decimals, of, spread=False) for xs in values.values()
    ]


def known(sheet: Sheet, name: str) -> Listed | None:
    """A cost, if any row has it."""
    found = cost(sheet, name)
    return found if any(entry.mean is not None for entry in found[1]) else None


def state(sheet: Sheet) -> list[Listed]:
    """Why rows are incomplete, where any is."""
    states = sheet.rows["state"]
    if (states == "done").all():
        return []
    return [(Column("state", "state", "state"), [Entry(str(found)) for found in states])]


def _finite(values: pd.Series) -> np.ndarray:
    return np.isfinite(values.to_numpy(dtype=float, na_value=np.nan))


def _ordered(rows: pd.DataFrame, group: str) -> pd.DataFrame:
    """By data set, group and role, each in the order in which the grid names them."""
    names = ("dataset", group) if group else ("dataset",)
    places = {name: {value: i for i, value in enumerate(dict.fromkeys(rows[name]))} for name in names}
    ranks = [
        tuple(places[n][v] for n, v in zip(names, values, strict=True))
        for values in zip(*(rows[n] for n in names), strict=True)
    ]
    keys = [(*rank, ROLES.index(role)) for rank, role in zip(ranks, rows["role"], strict=True)]
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


def _values(
    frame: pd.DataFrame, value: str, rows: pd.DataFrame, scale: float = 1.0
) -> dict[int, list[float]]:
    """Row -> its finite values, one a seed, scaled."""
    found: dict[int, list[float]] = {int(row): [] for row in rows.index}
    for row, x in zip(frame["row"], frame[value], strict=True):
        if row in found and math.isfinite(x):
            found[int(row)].append(float(x) * scale)
    return found


def _untrained(entry: Entry) -> Entry:
    return entry if entry.mean is None else replace(entry, mark=DAGGER)


def _ranked(entries: list[Entry], sheet: Sheet, decimals: int, *, higher_is_better: bool) -> list[Entry]:
    """Mark best and second best among the candidates of each data set and backbone that have every seed.

    Those that did not train the task don't count. Numbers that print alike share a rank. One candidate alone
    is not the best of anything, and of two the other is not worth a mark.
    """
    ranked, sign = list(entries), 1 if higher_is_better else -1
    company: dict[tuple[str, ...], dict[int, float]] = {}
    for i, (entry, role) in enumerate(zip(entries, sheet.rows["role"], strict=True)):
        if role == "candidate" and entry.mean is not None and entry.seeds == sheet.seeds and not entry.mark:
            company.setdefault(sheet.rivals[i], {})[i] = sign * round(entry.mean, decimals)
    for rivals in company.values():
        places = sorted(set(rivals.values()), reverse=True)
        for i, value in rivals.items():
            if value == places[0] and len(rivals) > 1:
                ranked[i] = replace(entries[i], rank="best")
            elif len(places) > 1 and value == places[1] and len(rivals) > 2:
                ranked[i] = replace(entries[i], rank="second")
    return ranked
