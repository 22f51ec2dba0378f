"""The main table in a terminal."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table as RichTable
from rich.text import Text

from mtlbench.caption import caption
from mtlbench.entries import Entry
from mtlbench.results import Results
from mtlbench.table import Column, Table, tabulate

_STYLES = {"best": "bold", "second": "underline", None: ""}


def print_table(results: Results, console: Console) -> None:
    """Print the table and its caption, with the spreads on lines of their own where the width asks for it."""
    table = tabulate(results)
    printed = _rich(table, results.grid, stacked=False)
    if Measurement.get(console, console.options.update(max_width=10_000), printed).maximum > console.width:
        printed = _rich(table, results.grid, stacked=True)
    console.print(printed)
    console.print(Text(caption(results), style="dim"))


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
    parts = [entry.value, f"±{entry.spread}" if entry.spread else "", f"({entry.note})" if entry.note else ""]
    return Text("\n").join(
        Text(part, style=style if part == entry.value else "dim") for part in parts if part
    )
