"""The report as one Markdown page."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from mtlbench import balancer_table
from mtlbench.caption import caption
from mtlbench.entries import DASH, Entry
from mtlbench.layouts.main import main_table
from mtlbench.results import Results
from mtlbench.statistics.findings import findings
from mtlbench.table import Table

from .figures import charts, save
from .gain import EXPLANATION, HEADING, gain
from .protocol_tables import HEADING as PROTOCOLS
from .protocol_tables import Block, blocks

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~&$])")
_MARKS = {"best": "**", "second": "_", None: ""}


def markdown(results: Results, folder: Path) -> list[Path]:
    """Write `report.md` and the PNG files that it shows."""
    table = main_table(results)
    parts = [f"# {escape(results.grid)}", *_findings(results), table_text(table), escape(caption(results))]
    parts += _remarks(table)
    parts += [f"> **Warning:** {escape(warning)}" for warning in balancer_table.warnings(results)]
    protocols = blocks(results)
    if protocols:
        parts += [f"## {PROTOCOLS}", protocol_sections(protocols)]
    gains = gain(results)
    if gains:
        parts += [f"## {HEADING}", table_text(gains), EXPLANATION]
    costs = balancer_table.balancers(results)
    if costs:
        parts += [f"## {balancer_table.HEADING}", table_text(costs), balancer_table.EXPLANATION]
    drawn = [(chart, save(chart, folder / "figures", ("png",))) for chart in charts(results)]
    if drawn:
        parts.append("## Figures")
    for chart, (png,) in drawn:
        link = f"![{escape(chart.title)}]({png.relative_to(folder).as_posix()})"
        parts += [f"### {escape(chart.title)}", link, escape(chart.caption)]
    if len(results.failures):
        parts += ["## Failures", _failures(results.failures)]
    path = folder / "report.md"
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return [path, *(png for _, (png,) in drawn)]


def table_text(table: Table) -> str:
    """A table in pipes; best in bold, second best and names of printed lines in italics."""
    headings = [f"{column.group} {column.title}".strip() for column in table.columns]
    right = [column.numeric for column in table.columns]
    return _pipes(
        [escape(heading) for heading in headings],
        right,
        [
            [
                _entry(entry, printed=bool(line.published) and column.kind == "label")
                for column, entry in zip(table.columns, line.entries, strict=True)
            ]
            for line in table.lines
        ],
    )


def protocol_sections(found: list[Block]) -> str:
    """All blocks in Markdown, each under its name."""
    parts = []
    for block in found:
        heading = [f"### {escape(block.name)}"] if block.name else []
        parts += [*heading, table_text(block.table), escape(" ".join(block.notes))]
    return "\n\n".join(parts)


def escape(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def _entry(entry: Entry, *, printed: bool) -> str:
    if printed:
        return f"_{escape(entry.text)}_" if entry.value not in ("", DASH) else entry.value
    mark = _MARKS[entry.rank]
    return f"{mark}{escape(entry.text)}{mark}"


def _findings(results: Results) -> list[str]:
    """What the numbers say, in words."""
    said = findings(results)
    return ["\n".join(f"- {escape(sentence)}" for sentence in said)] if said else []


def _remarks(table: Table) -> list[str]:
    """What is odd about lines that papers printed."""
    said = [line.remark for line in table.lines if line.remark]
    return ["## Printed rows", "\n".join(f"- {escape(remark)}" for remark in said)] if said else []


def _pipes(headings: Sequence[str], right: Sequence[bool], lines: Sequence[Sequence[str]]) -> str:
    rule = ["---:" if r else ":---" for r in right]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (headings, rule, *lines))


def _failures(failures: pd.DataFrame) -> str:
    names = ["cell", "kind", "message"]
    lines = [[escape(str(cell)) for cell in line] for line in failures[names].itertuples(index=False)]
    return _pipes(names, [False] * 3, lines)
