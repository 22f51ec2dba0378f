"""Lines that papers printed, beside the rows that reproduce them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from mtlbench.entries import DASH, DOUBLE_DAGGER, Entry, number
from mtlbench.layouts.matching import Printed, about, printed_delta_m, printed_of, reproduces
from mtlbench.naming import same_name
from mtlbench.published_numbers import PublishedRow, PublishedTable, chosen_tables, read_published, table_of
from mtlbench.results import Results
from mtlbench.table import PUBLISHED, Column, Line, Table

MARK = "P"


@dataclass(frozen=True)
class _Source:
    """A paper's table, and how its lines are marked."""

    name: str
    table: PublishedTable
    mark: str


def with_printed(table: Table, results: Results, group: str) -> Table:
    """The table with the lines of the papers' tables that the grid names, if they are of its data sets.

    A line stands behind the row that reproduces it; one that nothing reproduces, at the end of its group.
    """
    sources = _sources(results, table.layout)
    lines, notes = list(table.lines), []
    for source in sources:
        added = [_placed(source, row, table, results, group) for row in read_published(source.name)]
        made = [(line, place) for line, place in added if line is not None]
        for line, place in made:
            lines.insert(_position(lines, line, place), line)
        notes.append(_note(source, [line for line, _ in made]))
    if any(e.mark == DOUBLE_DAGGER for line in lines if line.published for e in line.entries):
        notes.append(
            f"{DOUBLE_DAGGER}: of another variant of the metric than ours, or of one that nobody knows."
        )
    return replace(table, lines=tuple(lines), notes=(*notes, *_gaps(lines)))


def _sources(results: Results, layout: str) -> list[_Source]:
    datasets = {row["dataset"]["name"] for row in results.settings.values() if "dataset" in row}
    names = chosen_tables(results.published, datasets, layout)
    marks = [f" [{MARK}]"] if len(names) == 1 else [f" [{MARK}{i}]" for i in range(1, len(names) + 1)]
    return [_Source(name, table_of(name), mark) for name, mark in zip(names, marks, strict=True)]


def _placed(
    source: _Source, row: PublishedRow, table: Table, results: Results, group: str
) -> tuple[Line | None, int]:
    """The line, if it holds any number, and the row of ours that it is of (-1: none)."""
    ours = [line for line in table.lines if not line.published]
    match = next((own for own in ours if reproduces(results, own.row, source.table, row)), None)
    company = [match] if match else [own for own in ours if about(results, own.row, source.table, row)]
    if not company:
        return None, -1
    beside = [own for own in company if not group or _in_group(results, own.row, group, row)] or company
    entries = tuple(_entries(table, source, row, match, beside[-1]))
    numbers = [e for c, e in zip(table.columns, entries, strict=True) if c.kind == "metric"]
    if all(entry.mean is None for entry in numbers):
        return None, -1
    fits = match is not None or not group or _in_group(results, beside[-1].row, group, row)
    block = beside[-1].block if match or fits else (*beside[-1].block, row.backbone)
    line = Line(-1, PUBLISHED, "done", block, entries, source.name, _remark(source, row))
    return line, beside[-1].row if match or fits else -1


def _in_group(results: Results, row: int, group: str, line: PublishedRow) -> bool:
    own, theirs = str(results.rows.at[row, group]), getattr(line, group, "") or line.model
    name = results.settings.get(row, {}).get(group, {}).get("name", own)
    return same_name(own, theirs) or same_name(str(name), theirs)


def _position(lines: Sequence[Line], line: Line, row: int) -> int:
    """Behind a row and the printed lines that follow it; at the end where there is no such row."""
    if row < 0:
        return len(lines)
    at = next(i for i, other in enumerate(lines) if other.row == row) + 1
    while at < len(lines) and lines[at].published:
        at += 1
    return at


def _entries(
    table: Table, source: _Source, row: PublishedRow, match: Line | None, beside: Line
) -> Iterator[Entry]:
    """One for each column; numbers have gaps where a row of ours reproduces them."""
    columns = table.columns
    ours = match.entries if match else (None,) * len(columns)
    named = next((c.name for c in columns if c.name == "method"), columns[0].name)
    comparable = all(
        printed_of(row, c.group, c.metric) is None or _same(row, c) for c in columns if c.kind == "metric"
    )
    for i, (column, own) in enumerate(zip(columns, ours, strict=True)):
        if column.kind == "metric":
            printed = printed_of(row, column.group, column.metric)
            yield _number(printed, column, own, same=_same(row, column))
        elif column.kind == "delta_m":
            yield _number(printed_delta_m(row), column, own, same=comparable)
        elif column.kind == "cost":
            yield _cost(row, column)
        elif column.kind == "state":
            yield Entry("printed")
        else:
            found = _label(row, column, own, beside.entries[i])
            if column.name == named:
                where = "" if match else _elsewhere(table, row)
                found = replace(found, value=found.value + where, mark=source.mark)
            yield found


def _same(row: PublishedRow, column: Column) -> bool:
    printed = printed_of(row, column.group, column.metric)
    return printed is not None and printed.metric == column.metric


def _number(printed: Printed | None, column: Column, own: Entry | None, *, same: bool) -> Entry:
    if printed is None:
        return Entry(DASH)
    entry = Entry(
        printed.text, mean=printed.value, mark="" if same or column.kind == "delta_m" else DOUBLE_DAGGER
    )
    if own is None:
        return entry
    if own.mean is None or not same:
        return replace(entry, gap_text=DASH)
    gap = (own.mean - printed.value) * (1 if column.higher_is_better else -1)
    return replace(entry, gap=gap, gap_text=number(gap, len(own.value.partition(".")[2]), signed=True))


def _cost(row: PublishedRow, column: Column) -> Entry:
    value = {
        "parameters": row.params_m,
        "macs": row.gflops,
        "module_macs": row.gflops,
        "encoder_trainable": row.encoder_trainable_m,
        "decoder_trainable": row.decoders_m or None,
        "total_trainable": row.total_trainable_m,
    }.get(column.name)
    return Entry(DASH) if value is None else Entry(f"{value:g}", mean=value)


def _label(row: PublishedRow, column: Column, own: Entry | None, beside: Entry) -> Entry:
    """As printed; what a paper doesn't say of its row is that of the row that reproduces it, or empty."""
    said = {
        "method": row.model if row.experiment else row.name,
        "backbone": row.backbone,
        "balancer": row.balancer,
        "tuning": row.tuning,
        "protocol": row.experiment,
        "dataset": beside.value,
        "single_inference": row.single_inference,
    }
    if column.name in said:
        return Entry(said[column.name] or DASH)
    return Entry(own.value if own else "")


def _elsewhere(table: Table, row: PublishedRow) -> str:
    """The backbone of a printed line, where the table has no column for it and its own is another."""
    shared = table.shared.get("backbone")
    other = shared is not None and row.backbone and not same_name(row.backbone, shared)
    return f" on {row.backbone}" if other and not any(c.name == "backbone" for c in table.columns) else ""


def _remark(source: _Source, row: PublishedRow) -> str:
    parts = [row.source and f"source: {row.source}", row.remark]
    name = f"{row.name} on {row.backbone}" if row.backbone else row.name
    said = "; ".join(part.rstrip(".") for part in parts if part)
    return f"{name}{source.mark}: {said}." if said else ""


def _note(source: _Source, lines: Sequence[Line]) -> str:
    where = f"{source.table.source}, {source.table.part} ({source.name})"
    mark = source.mark.strip()
    if not lines:
        about = ", ".join(source.table.datasets)
        return f"Nothing is shown of {where}: it is about {about}, or about other tasks."
    remark = f" {source.table.remark.strip()}" if source.table.remark else ""
    return f"{mark}: printed in {where}; not ranked.{remark}"


def _gaps(lines: Sequence[Line]) -> list[str]:
    texts = [entry.gap_text for line in lines for entry in line.entries if entry.gap_text]
    if not texts:
        return []
    dash = f"; {DASH} where ours is missing or of another variant" if DASH in texts else ""
    return [f"In parentheses: ours minus the printed number, turned so that + means ours is better{dash}."]
