"""The report as one Markdown page."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from mtlbench import balancer_table
from mtlbench.caption import caption
from mtlbench.entries import Entry
from mtlbench.results import Results
from mtlbench.table import Table, tabulate

from .figures import charts, save
from .gain import EXPLANATION, HEADING, gain

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~&$])")
_MARKS = {"best": "**", "second": "_", None: ""}


def markdown(results: Results, folder: Path) -> list[Path]:
    """Write `report.md` and the PNG files that it shows."""
    parts = [f"# {escape(results.grid)}", table_text(tabulate(results)), escape(caption(results))]
    parts += [f"> **Warning:** {escape(warning)}" for warning in balancer_table.warnings(results)]
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
    """A table in pipes; best in bold, second best in italics."""
    headings = [f"{column.group} {column.title}".strip() for column in table.columns]
    right = [column.numeric for column in table.columns]
    return _pipes(
        [escape(heading) for heading in headings],
        right,
        [[_entry(entry) for entry in line.entries] for line in table.lines],
    )


def escape(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def _entry(entry: Entry) -> str:
    mark = _MARKS[entry.rank]
    return f"{mark}{escape(entry.text)}{mark}"


def _pipes(headings: Sequence[str], right: Sequence[bool], lines: Sequence[Sequence[str]]) -> str:
    rule = ["---:" if r else ":---" for r in right]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (headings, rule, *lines))


def _failures(failures: pd.DataFrame) -> str:
    names = ["cell", "kind", "message"]
    lines = [[escape(str(cell)) for cell in line] for line in failures[names].itertuples(index=False)]
    return _pipes(names, [False] * 3, lines)
