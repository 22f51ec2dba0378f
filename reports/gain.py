"""By how much each row beats the best prediction that doesn't look at the image."""

from __future__ import annotations

from dataclasses import replace

from mtlbench.entries import DASH, Entry, decimals_for, formatted
from mtlbench.results import Results, TaskColumn
from mtlbench.table import Column, Line, Table, tabulate

HEADING = "Gain over the constant predictor"
EXPLANATION = (
    "How much better each row is than the constant prediction that suits a task's metric best: in the "
    "metric's own unit, and relative to the constant predictor's value. Positive is better in every column. "
    "A network near zero has learnt nothing from the images."
)


def gain(results: Results) -> Table | None:
    """The table of gains, two columns a task; None without a reference row named `constant`."""
    table = tabulate(results)
    constants = {
        line.block[0]: line
        for line in table.lines
        if line.role == "reference" and "constant" in str(results.rows.loc[line.row, "method"]).lower()
    }
    if not constants:
        return None
    lines = [line for line in table.lines if line.role != "reference"]
    labels = [i for i, column in enumerate(table.columns) if column.kind == "label"]
    columns = [(table.columns[i], [line.entries[i] for line in lines]) for i in labels]
    for task in results.tasks:
        columns += _gains(table, task, lines, constants)
    return table.of_columns(lines, columns)


def _gains(
    table: Table, task: TaskColumn, lines: list[Line], constants: dict[str, Line]
) -> list[tuple[Column, list[Entry]]]:
    """The column in the metric's unit and the column in percent of one task."""
    place = table.index(task.name)
    sign = 1 if task.higher_is_better else -1
    found = [line.entries[place].mean for line in table.lines]
    decimals = decimals_for(mean for mean in found if mean is not None)
    absolute, relative = [], []
    for line in lines:
        entry = line.entries[place]
        constant = constants[line.block[0]].entries[place].mean if line.block[0] in constants else None
        absolute.append(_gain(entry, constant, sign, decimals, table.seeds))
        percent = sign * 100 / abs(constant) if constant else None
        # Its spread would say nothing that the other column doesn't.
        relative.append(_gain(replace(entry, std=None), constant, percent, 1, table.seeds))
    return [
        (Column(task.name, task.heading, "metric", task.name), absolute),
        (Column(f"{task.name}_percent", "%", "metric", task.name), relative),
    ]


def _gain(entry: Entry, constant: float | None, factor: float | None, decimals: int, seeds: int) -> Entry:
    """The entry of factor * (value - constant); the constant predictor's own spread is not part of it."""
    if entry.mean is None or constant is None or factor is None:
        return Entry(DASH)
    std = None if entry.std is None else abs(factor) * entry.std
    mean = factor * (entry.mean - constant)
    return replace(formatted(mean, std, entry.seeds, decimals, seeds, signed=True), mark=entry.mark)
