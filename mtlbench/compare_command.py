"""`mtlbench compare`: two folders of runs side by side."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mtlbench.compared import LABELS, Alone, Comparison, Line, compare
from mtlbench.entries import DASH, decimals_for, number
from mtlbench.errors import MtlbenchError
from mtlbench.files import write_atomically
from mtlbench.store import Runs

FORMATS = (".md", ".csv")
HEADINGS = ("row", "task", "metric", "A", "B", "B - A", "95 % interval", "seeds", "")
NUMERIC = ("A", "B", "B - A", "95 % interval", "seeds")
_STYLES = {"b better": "green", "b worse": "red", "identical": "dim", "": ""}
_WORDS = {"b better": "B better", "b worse": "B worse", "identical": "identical", "": ""}


def compare_folders(
    a: Path,
    b: Path,
    console: Console,
    *,
    url: str | None = None,
    grid: str | None = None,
    out: Path | None = None,
) -> None:
    """Print what two folders of runs differ by, and write it where asked to.

    Raises:
        MtlbenchError: the suffix of `out` is neither .md nor .csv, or there is nothing to compare.
    """
    if out is not None and out.suffix not in FORMATS:
        raise MtlbenchError(f"--out must end in {' or '.join(FORMATS)}, got {out}")
    found = compare(Runs(a, url), Runs(b, url), grid)
    heads = [f"A: {a}", f"B: {b}"]
    console.print(Text("\n".join(heads)), soft_wrap=True)
    console.print(_rich(found))
    for line in summary(found):
        console.print(Text(line), soft_wrap=True)
    if out is not None:
        text = _csv(found) if out.suffix == ".csv" else _markdown(found, heads)
        out.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(out, text)
        console.print(Text(f"written: {out}"), soft_wrap=True)


def summary(found: Comparison) -> list[str]:
    """What stands below the table: how much is identical, what is in one folder only, what differs."""
    lines = [f"{found.identical} of {found.cells} pairs of cells are identical bit for bit in all metrics"]
    if any(line.how == "labels" for line in found.lines):
        lines.append("* Not the same settings: their labels and tasks are, see what differs.")
    tested = sum(line.difference.low is not None and not line.identical for line in found.lines)
    if tested > 1:
        lines.append(
            f"Of {tested} intervals, {0.05 * tested:.1f} miss 0 by chance where nothing differs: "
            "they are not corrected for their number."
        )
    lines += [f"Not compared: {other}" for other in found.others]
    names = _names([*(line.labels for line in found.lines), *(alone.setting.labels for alone in found.alone)])
    lines += [_only(alone, names[_key(alone.setting.labels)]) for alone in found.alone]
    lines += [
        f"Differs in {change.cells} of {found.cells} pairs: {change.what}: {change.a} -> {change.b}"
        for change in found.changes
    ]
    return lines if found.changes else [*lines, "Code, versions, hardware and data are the same."]


def table(found: Comparison) -> list[tuple[Line | None, list[str]]]:
    """Rows of the printed table; a row whose tasks are all identical has one for all, without a line."""
    names = _names([line.labels for line in found.lines])
    decimals = {
        metric: decimals_for([line.a for line in found.lines if line.record.metric == metric])
        for metric in {line.record.metric for line in found.lines}
    }
    rows: list[tuple[Line | None, list[str]]] = []
    for key, group in groupby(found.lines, key=lambda line: _key(line.labels)):
        lines = list(group)
        if len(lines) > 1 and all(line.identical for line in lines):
            seeds = _seeds(len(line.seeds) for line in lines)
            rows.append((None, [names[key], "all", *[""] * 5, seeds, "identical"]))
            continue
        for i, line in enumerate(lines):
            star = "*" if line.how == "labels" else ""
            name = names[key] + star if i == 0 else ""
            rows.append((line, [name, line.task, *_numbers(line, decimals[line.record.metric])]))
    return rows


def _numbers(line: Line, decimals: int) -> list[str]:
    arrow = "↑" if line.record.higher_is_better else "↓"
    low, high = line.difference.low, line.difference.high
    span = DASH
    if low is not None and high is not None:
        span = f"{number(low, decimals, signed=True)} to {number(high, decimals, signed=True)}"
    return [
        f"{line.record.heading} {arrow}",
        number(line.a, decimals),
        number(line.b, decimals),
        number(line.difference.mean, decimals, signed=True),
        "" if line.identical else span,
        str(len(line.seeds)),
        _WORDS[line.verdict],
    ]


def _rich(found: Comparison) -> Table:
    """Texts, never markup: a label may hold brackets."""
    printed = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in HEADINGS:
        numeric = heading in NUMERIC
        printed.add_column(
            heading, justify="right" if numeric else "left", no_wrap=heading != "row", overflow="fold"
        )
    for line, texts in table(found):
        style = _STYLES["identical" if line is None else line.verdict]
        printed.add_row(*map(Text, texts), style=style)
    return printed


def _markdown(found: Comparison, heads: Sequence[str]) -> str:
    aligned = ["---:" if heading in NUMERIC else ":---" for heading in HEADINGS]
    rows = [[text.replace("|", "\\|") for text in texts] for _, texts in table(found)]
    lines = [f"| {' | '.join(texts)} |" for texts in [[*HEADINGS], aligned, *rows]]
    said = [f"- {line}" for line in summary(found)]
    return "\n".join([*(f"{head}  " for head in heads), "", *lines, "", *said, ""])


def _csv(found: Comparison) -> str:
    """A line for each setting and task, unrounded, in the units of tables."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    numbers = ("a", "b", "difference", "low", "high", "n")
    writer.writerow([*LABELS, "task", "metric", "matched", *numbers, "identical"])
    for line in found.lines:
        d = line.difference
        writer.writerow(
            [
                *(line.labels[name] for name in LABELS),
                *(line.task, line.record.metric, line.how, line.a, line.b),
                *(d.mean, d.low, d.high, d.n, line.identical),
            ]
        )
    return file.getvalue()


def _only(alone: Alone, name: str) -> str:
    tasks = ", ".join(alone.setting.cell.tasks)
    seeds = f"seed{'s' if len(alone.seeds) > 1 else ''} {', '.join(map(str, alone.seeds))}"
    return f"Only in {alone.side.upper()}: {name} ({tasks}), {seeds}"


def _key(labels: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(labels[name] for name in LABELS)


def _names(labels: Sequence[Mapping[str, str]]) -> dict[tuple[str, ...], str]:
    """What tells rows from each other: the method, and the labels that vary."""
    keys = list(dict.fromkeys(map(_key, labels)))
    varying = [i for i, name in enumerate(LABELS) if name == "method" or len({k[i] for k in keys} - {""}) > 1]
    return {key: " · ".join(key[i] for i in varying if key[i]) for key in keys}


def _seeds(counts: Iterable[int]) -> str:
    found = sorted(set(counts))
    return "-".join(map(str, found[:1] + found[1:][-1:]))
