"""The main table in a terminal."""

from __future__ import annotations

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from mtlbench.caption import caption
from mtlbench.entries import Entry
from mtlbench.layouts.main import main_table
from mtlbench.results import Results
from mtlbench.table import Column, Table

_STYLES = {"best": "bold", "second": "underline", None: ""}


def print_table(results: Results, console: Console) -> None:
    """Print the table and its caption, with the spreads on lines of their own where the width asks for it."""
    table = main_table(results)
    console.print(_rich(table, results.grid, stacked=_width(table) > console.width))
    console.print(Text(caption(results), style="dim"))


def _width(table: Table) -> int:
    """Of the table on one line a row: columns with two blanks behind each, and one at the edge."""
    widths = [
        max(cell_len(text) for text in (*str(_heading(column, stacked=False)).split("\n"), *texts))
        for column, *texts in zip(
            table.columns, *([e.text for e in line.entries] for line in table.lines), strict=True
        )
    ]
    return sum(widths) + 2 * len(widths) + 1


def _rich(table: Table, title: str, *, stacked: bool) -> RichTable:
    """Texts, never markup: a label may hold brackets."""
    printed = RichTable(title=Text(title), box=box.SIMPLE_HEAD, padding=(0, 1 if not stacked else 0, 0, 0))
    for column in table.columns:
        numeric = column.numeric
        printed.add_column(
            _heading(column, stacked=stacked),
            justify="right" if numeric else "left",
            no_wrap=numeric,
            overflow="fold",
        )
    for line, following in zip(table.lines, [*table.lines[1:], None], strict=True):
        printed.add_row(
            *(_text(entry, stacked=stacked) for entry in line.entries),
            style="dim italic" if line.published else None,
            end_section=following is not None and following.block != line.block,
        )
    return printed


def _heading(column: Column, *, stacked: bool) -> Text:
    title = column.title.replace(" (", "\n(") if stacked else column.title
    return Text(f"{column.group}\n{title}" if column.group else title)


def _text(entry: Entry, *, stacked: bool) -> Text:
    style = _STYLES[entry.rank]
    if not stacked:
        return Text(entry.text, style=style)
    parts = [
        entry.marked,
        f"±{entry.spread}" if entry.spread else "",
        f"({entry.note})" if entry.note else "",
        f"({entry.gap_text})" if entry.gap_text else "",
    ]
    return Text("\n").join(
        Text(part, style=style if part == entry.marked else "dim") for part in parts if part
    )
