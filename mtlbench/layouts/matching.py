"""Which row of ours reproduces which row of a paper's table, and which of its numbers mean the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mtlbench import catalogue
from mtlbench.naming import plain, same_name
from mtlbench.published_numbers import DELTA_M, UNKNOWN_VARIANT, PublishedRow, PublishedTable
from mtlbench.results import Results


@dataclass(frozen=True)
class Printed:
    """One number of a paper.

    Attributes:
        text: as printed.
        metric: full name of the variant; begins with `?` where nobody knows it.
    """

    text: str
    value: float
    metric: str


def about(results: Results, row: int, table: PublishedTable, line: PublishedRow) -> bool:
    """Whether a row is of the data set that a printed line is of."""
    own = results.settings.get(row, {}).get("dataset", {}).get("name")
    wanted = (line.dataset,) if line.dataset else table.datasets
    if own is not None:
        return own in wanted
    labelled = plain(str(results.rows.at[row, "dataset"]))
    return any(labelled.startswith(plain(name)) for name in wanted)


def reproduces(results: Results, row: int, table: PublishedTable, line: PublishedRow) -> bool:
    """Whether a row is what a printed line is of: data set, tasks, and the names that the line has."""
    found: dict[Any, Any] = results.rows.loc[row].to_dict()
    tasks = {owner(column, found["evaluated"]) for column in line.scored()}
    if not about(results, row, table, line) or tasks != {*found["evaluated"]}:
        return False
    if line.backbone and not _named(results, row, "backbone", line.backbone):
        return False
    if line.experiment:
        return str(found["protocol"]) == line.experiment and _named(results, row, "method", line.model)
    if found["role"] == "reference":
        return False
    for axis, name in (("balancer", line.balancer), ("tuning", line.tuning)):
        if name:
            return found["role"] == "candidate" and _named(results, row, axis, name)
    return _named(results, row, "method", line.model)


def owner(column: str, tasks: Sequence[str]) -> str | None:
    """The task whose number a published column holds; its name begins with it."""
    return next((task for task in tasks if column.startswith(f"{task}_")), None)


def printed_of(line: PublishedRow, task: str, metric: str) -> Printed | None:
    """The printed number of a task that is of this variant, else one whose variant is of the same kind."""
    columns = [column for column in line.scored() if owner(column, [task])]
    numbers = [Printed(line.printed[c], line.metrics[c] or 0.0, line.variants[c]) for c in columns]
    exact = (number for number in numbers if number.metric == metric)
    kind = _kind(task, metric)
    alike = (n for n in numbers if kind and _kind(task, n.metric) in (kind, UNKNOWN_VARIANT))
    return next(exact, next(alike, None))


def printed_delta_m(line: PublishedRow) -> Printed | None:
    value = line.metrics.get(DELTA_M)
    return None if value is None else Printed(line.printed[DELTA_M], value, "delta_m")


def _kind(task: str, metric: str) -> str:
    """What a variant measures, `mIoU`; of one that nobody knows, what follows its question mark, or that."""
    if metric.startswith(UNKNOWN_VARIANT):
        return metric[1:] or metric
    return next((v.column for v in catalogue.variants(task) if v.name == metric), "")


def _named(results: Results, row: int, axis: str, name: str) -> bool:
    """By a row's label; backbones also by their own name, whatever the label."""
    choice: Mapping[str, Any] = results.settings.get(row, {}).get(axis, {}) if axis == "backbone" else {}
    names = (str(results.rows.at[row, axis]), str(choice.get("name", "")))
    return any(same_name(own, name) for own in names)
