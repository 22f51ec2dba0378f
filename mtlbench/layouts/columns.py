"""Columns by their names."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from mtlbench import catalogue
from mtlbench.entries import CHECK, DASH, Entry
from mtlbench.errors import MtlbenchError
from mtlbench.layouts.options import option_columns, varying
from mtlbench.layouts.settings import COST_NAMES, column_problems, is_option
from mtlbench.results import Results, TaskColumn
from mtlbench.table import LABELS, Column, Listed, Sheet, cost, delta_m, known, label, metric


def columns(sheet: Sheet, names: Sequence[str], *, asked: bool) -> list[Listed]:
    """What names stand for, each column once; of those that nobody asked for, the ones that hold something.

    Raises:
        MtlbenchError: there is no such column.
    """
    check(sheet.results, names)
    found: dict[str, Listed] = {}
    for name in names:
        for column, entries in _named(sheet, name, asked=asked):
            found.setdefault(column.name, (column, entries))
    return list(found.values())


def check(results: Results, names: Sequence[str] | None) -> None:
    """All of them are columns that a table of these results could have.

    Raises:
        MtlbenchError: one is not.
    """
    tasks = {task for found in results.rows["evaluated"] for task in found}
    metrics = dict.fromkeys(results.scores["metric"])
    problems = column_problems(names, sorted(tasks), list(metrics))
    if problems:
        raise MtlbenchError("\n".join(f"columns[{i}]: {message}" for i, message in problems))


def stage_mark(task: str, stages: Sequence[Sequence[str]]) -> str:
    """A check mark, or the numbers of the stages in which a task was trained where there are several."""
    numbers = [i for i, stage in enumerate(stages, start=1) if task in stage]
    if not numbers:
        return DASH
    if len(stages) == 1:
        return CHECK
    runs = [[i for _, i in run] for _, run in groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0])]
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}\N{EN DASH}{run[-1]}" for run in runs)


def _named(sheet: Sheet, name: str, *, asked: bool) -> list[Listed]:
    results = sheet.results
    primary = {task.name: task for task in results.tasks}
    if name == "labels":
        return [label(sheet, axis) for axis in LABELS if axis not in sheet.shared]
    if name in LABELS:
        return [label(sheet, name)]
    if name == "options":
        return [listed for option in varying(sheet) for listed in option_columns(sheet, option)]
    if is_option(name):
        return option_columns(sheet, name)
    if name == "trained":
        return [_trained(sheet, task.name) for task in results.tasks]
    if name == "tasks":
        return [metric(sheet, task) for task in results.tasks]
    if name in primary:
        return [metric(sheet, primary[name])]
    if name == "delta_m":
        return [delta_m(sheet)] if asked or not results.delta_m.empty else []
    if name == "single_inference":
        return [_single_inference(sheet)]
    if name in COST_NAMES:
        found = known(sheet, name)
        return [found] if found else [cost(sheet, name)] if asked else []
    return _variant(sheet, name)


def _variant(sheet: Sheet, name: str) -> list[Listed]:
    """A metric by its full name: a column for each task that has scores of it."""
    scores = sheet.results.scores
    order = [task.name for task in sheet.results.tasks]
    tasks = sorted({*scores.loc[scores["metric"] == name, "task"]}, key=order.index)
    keys = [name] if len(tasks) == 1 else [f"{task}.{name}" for task in tasks]
    return [metric(sheet, shown_as(task, name), key) for task, key in zip(tasks, keys, strict=True)]


def shown_as(task: str, name: str) -> TaskColumn:
    """How a variant of a task is shown: under its name, as others may have the same short heading.

    One that isn't in the catalogue is shown as it is, better where higher.
    """
    known = {variant.name: variant for variant in catalogue.variants(task)}
    if name not in known:
        return TaskColumn(task, name, name, True, 1.0)
    found = known[name]
    return TaskColumn(task, name.removeprefix(f"{task}."), name, found.higher_is_better, found.scale)


def _trained(sheet: Sheet, task: str) -> Listed:
    entries = [Entry(stage_mark(task, stages)) for stages in sheet.rows["stages"]]
    return Column(f"{task}_trained", task, "label", "trained"), entries


def _single_inference(sheet: Sheet) -> Listed:
    """Whether one pass of one encoder serves all tasks; of cells that did not count it, of one network."""
    efforts = sheet.results.efforts
    passes = dict(zip(efforts["row"], efforts["encoder_passes"], strict=True))
    entries = [
        Entry("yes" if networks == 1 and not passes.get(row, 0) > 1 else "no")
        for row, networks in zip(sheet.rows.index, sheet.rows["networks"], strict=True)
    ]
    return Column("single_inference", "single inference", "label"), entries
