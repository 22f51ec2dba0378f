"""What was trained, stage by stage, and what came out: a table for each method whose rows differ in that.

In the form of Table IV of the DeGMix paper, beside a paper's own numbers where the grid names them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd

from mtlbench.entries import CHECK, DAGGER, DASH, Entry, number
from mtlbench.layouts.columns import stage_mark
from mtlbench.layouts.matching import printed_of, reproduces
from mtlbench.published_numbers import PublishedRow, PublishedTable, chosen_tables, read_published, table_of
from mtlbench.results import Results, TaskColumn
from mtlbench.table import Column, Line, Table, tabulate

HEADING = "Protocols"
_BLOCK = ("dataset", "backbone", "method", "balancer", "tuning", "recipe")
_COMPARED_WITHIN = ("dataset", "backbone", "tuning", "recipe")
_Printed = tuple[PublishedTable, list[PublishedRow]]


@dataclass(frozen=True)
class Block:
    """The rows of one data set, backbone, method, balancer, tuning and recipe.

    Attributes:
        name: these labels.
        rows: of the results, in the order of the table's lines.
        table: experiment; for each task whether it was trained; for each task its score, and where there is
            one the printed value and the gap to it.
        notes: what a reader must know: sentences.
        published: row -> its line of the paper's table.
    """

    name: str
    rows: tuple[int, ...]
    table: Table
    notes: tuple[str, ...]
    published: dict[int, PublishedRow]


def blocks(results: Results) -> list[Block]:
    """A table for each method whose candidates differ in the tasks that they learned, or in the stages."""
    table = tabulate(results)
    lines = {line.row: line for line in table.lines}
    names = chosen_tables(results.published, _datasets(results), "protocols")
    printed = [(table_of(name), read_published(name)) for name in names]
    found = []
    candidates = results.rows[results.rows["role"] == "candidate"]
    differ = candidates.groupby(list(_BLOCK))["stages"].transform("nunique") > 1
    for _, rows in candidates[differ].groupby(list(_BLOCK), sort=False):
        chosen = [*_baselines(results.rows, rows), *rows.index]
        found.append(_block(results, table, [lines[row] for row in chosen], printed))
    return found


def printed_value(row: PublishedRow | None, task: TaskColumn) -> tuple[str, float | None]:
    """The paper's number of a task, as printed and as a value; nothing where it is of another metric."""
    found = printed_of(row, task.name, task.metric) if row else None
    return (found.text, found.value) if found and found.metric == task.metric else ("", None)


def _datasets(results: Results) -> set[str]:
    return {row["dataset"]["name"] for row in results.settings.values() if "dataset" in row}


def _baselines(rows: pd.DataFrame, candidates: pd.DataFrame) -> list[int]:
    """The single-task networks that candidates of one setting are compared with."""
    place = candidates[list(_COMPARED_WITHIN)].iloc[0]
    same = (rows[list(_COMPARED_WITHIN)] == place).all(axis=1)
    return list(rows.index[same & (rows["role"] == "baseline")])


def _block(results: Results, table: Table, lines: list[Line], printed: Sequence[_Printed]) -> Block:
    rows = results.rows.loc[[line.row for line in lines]]
    used = {task for tasks in (*rows["evaluated"], *rows["trained"]) for task in tasks}
    tasks = [task for task in results.tasks if task.name in used]
    published = _published(results, rows, printed)
    columns = [(Column("experiment", "Exp.", "label"), _experiments(rows))]
    columns += [_marks(task.name, rows) for task in tasks]
    for task in tasks:
        columns += _scores(table, task, lines, published)
    if (rows["state"] != "done").any():
        columns.append((Column("state", "state", "state"), [Entry(str(state)) for state in rows["state"]]))
    labels = (rows[name].iloc[-1] for name in _BLOCK if name not in table.shared)
    return Block(
        name=" · ".join(label for label in labels if label not in ("", DASH)),
        rows=tuple(int(row) for row in rows.index),
        table=table.of_columns(lines, columns),
        notes=_notes(results, rows, columns, published),
        published=published,
    )


def _published(results: Results, rows: pd.DataFrame, printed: Sequence[_Printed]) -> dict[int, PublishedRow]:
    """Row -> the paper's line of the same experiment, method and backbone, with numbers of the same tasks.

    A line of other tasks or another data set is another experiment, whatever it is called.
    """
    return {
        int(row): line
        for row in rows.index[rows["role"] == "candidate"]
        for table, lines in printed
        for line in lines
        if line.experiment and reproduces(results, int(row), table, line)
    }


def _experiments(rows: pd.DataFrame) -> list[Entry]:
    """The protocol's label, or a baseline's name."""
    return [
        Entry(method if role == "baseline" else protocol or DASH)
        for role, method, protocol in zip(rows["role"], rows["method"], rows["protocol"], strict=True)
    ]


def _marks(task: str, rows: pd.DataFrame) -> tuple[Column, list[Entry]]:
    entries = [Entry(stage_mark(task, stages)) for stages in rows["stages"]]
    return Column(f"{task}_trained", task, "label", "trained"), entries


def _scores(
    table: Table,
    task: TaskColumn,
    lines: list[Line],
    published: dict[int, PublishedRow],
) -> list[tuple[Column, list[Entry]]]:
    """Our score as the main table has it, unranked; the printed value; by how much ours is better."""
    place = table.index(task.name)
    ours = [replace(line.entries[place], rank=None) for line in lines]
    columns = [(replace(table.columns[place], group=task.name), ours)]
    texts = [printed_value(published.get(line.row), task) for line in lines]
    if not any(text for text, _ in texts):
        return columns
    sign = 1 if task.higher_is_better else -1
    decimals = max(len(entry.value.partition(".")[2]) for entry in ours)
    theirs = [Entry(text or DASH, mean=value) for text, value in texts]
    gaps = [_gap(entry, value, sign, decimals) for entry, (_, value) in zip(ours, texts, strict=True)]
    return [
        *columns,
        (Column(f"{task.name}_printed", "printed", "metric", task.name), theirs),
        (Column(f"{task.name}_gap", "gap", "metric", task.name), gaps),
    ]


def _gap(entry: Entry, printed: float | None, sign: int, decimals: int) -> Entry:
    if entry.mean is None or printed is None:
        return Entry(DASH)
    gap = sign * (entry.mean - printed)
    return Entry(number(gap, decimals, signed=True), mean=gap)


def _notes(
    results: Results,
    rows: pd.DataFrame,
    columns: Sequence[tuple[Column, list[Entry]]],
    published: dict[int, PublishedRow],
) -> tuple[str, ...]:
    entries = [entry for _, found in columns for entry in found]
    said = [f"{CHECK}: the task's loss trained the network; a dash: it did not, or the task has no score."]
    if any(len(stages) > 1 for stages in rows["stages"]):
        said.append("Numbers: the stages in which it did, each of which goes on from the one before.")
    several = [entry.value for entry, n in zip(_experiments(rows), rows["networks"], strict=True) if n > 1]
    if several:
        said.append(f"{', '.join(several)}: a network for each task.")
    if any(entry.mark for entry in entries):
        said.append(f"{DAGGER}: scored, but never trained.")
    if published:
        said.append(
            f"Printed: {', '.join(results.published)}. Gap: ours to the printed value, positive is better."
        )
    said += [
        f"Printed row {row.experiment}: {row.remark.rstrip('.')}." for row in published.values() if row.remark
    ]
    return tuple(said)
