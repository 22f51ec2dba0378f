"""What terminals show of a grid that is at work."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from mtlbench.outlook import Line, duration
from mtlbench.watching import RunningCell

COLOURS = {
    "done": "green",
    "running": "cyan",
    "elsewhere": "cyan",
    "failed": "red",
    "pruned": "yellow",
    "blocked": "yellow",
    "interrupted": "magenta",
}
NAMES = {"new": "waiting"}
"""What a state is called where it is not called by its own name."""
WIDE = 130
"""Columns from which on a running cell takes one line instead of two."""
SILENT_SECONDS = 10.0
"""Shorter ones happen while a cell is all right."""


def running_cells(cells: Sequence[RunningCell], width: int, *, watched: bool, most: int) -> RenderableType:
    """Where running cells stand.

    Args:
        cells: to be shown.
        width: of the terminal.
        watched: say for how long no sign of life was seen, instead of when the last one was.
        most: cells that there is room for.
    """
    shown = [(cell, _facts(cell, watched)) for cell in cells[:most]]
    parts: list[RenderableType] = []
    if width >= WIDE and shown:
        table = Table.grid(padding=(0, 2))
        for cell, facts in shown:
            table.add_row(Text(cell.id, "cyan"), *facts)
        for column in table.columns[:-1]:
            column.no_wrap = True
        parts.append(table)
    else:
        for cell, facts in shown:
            parts.append(cut(Text(cell.id, "cyan")))
            parts.append(cut(Text("  ").append_text(Text("  ").join(fact for fact in facts if fact))))
    if len(cells) > most:
        parts.append(Text(f"... and {len(cells) - most} more that run", "dim"))
    return Group(*parts)


def bar(done: int, total: int) -> RenderableType:
    """With the percentage beside."""
    line = Table.grid(padding=(0, 1))
    whole = max(total, 1)
    line.add_row(ProgressBar(total=whole, completed=done, width=40), f"{100 * done // whole} %")
    return line


def cut(text: Text) -> Text:
    """On one line, whatever its length."""
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def _facts(cell: RunningCell, watched: bool) -> list[Text]:
    """What can be left out at the end comes last."""
    seen = "" if watched or cell.seen is None else time.strftime("%a %H:%M:%S", time.localtime(cell.seen))
    silent = watched and cell.silent >= SILENT_SECONDS
    return [
        Text(_step(cell)),
        Text(f"silent for {duration(cell.silent)}" if silent else "", "yellow"),
        Text(_speed(cell.line)),
        Text(_left(cell)),
        Text(cell.host),
        Text(f"seen {seen}" if seen else ""),
        Text(_losses(cell)),
    ]


def _step(cell: RunningCell) -> str:
    step = 0 if cell.line is None else cell.line["step"]
    if cell.line is not None and step == cell.steps:
        return f"{step}/{cell.steps} evaluates"
    return f"{step}/{'?' if cell.steps is None else cell.steps}"


def _speed(line: Line | None) -> str:
    return "starts" if line is None else f"{line['images_per_second']:.1f} img/s"


def _left(cell: RunningCell) -> str:
    return "" if cell.left is None else f"{duration(cell.left)} left"


def _losses(cell: RunningCell) -> str:
    if cell.line is None:
        return ""
    return "  ".join(f"{task} {value:.3g}" for task, value in cell.line["losses"].items())
