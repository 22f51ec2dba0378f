"""What the numbers of a few seeds prove: findings, intervals, comparisons, ranks."""

from __future__ import annotations

from pathlib import Path

from mtlbench.results import Results
from mtlbench.statistics.findings import findings

from .latex import table_environment
from .markdown import escape, table_text
from .statistics_tables import Section, pairs, sections

HEADING = "Findings"


def statistics(results: Results, folder: Path) -> list[Path]:
    """Write `statistics.md`, and where there is more than one seed `statistics.tex` and `statistics.csv`.

    Nothing is written (and what was is removed) where there is nothing to say.
    """
    said, found, compared = findings(results), sections(results), pairs(results)
    texts = {
        "statistics.md": _page(results.grid, said, found) if said else "",
        "statistics.tex": "\n".join(_environment(results.grid, section) for section in found),
        "statistics.csv": compared.to_csv(index=False) if len(compared) else "",
    }
    for name, text in texts.items():
        if text:
            (folder / name).write_text(text, encoding="utf-8")
        else:
            (folder / name).unlink(missing_ok=True)
    return [folder / name for name, text in texts.items() if text]


def _page(grid: str, said: list[str], found: list[Section]) -> str:
    parts = [
        f"# {escape(grid)}: statistics",
        f"## {HEADING}",
        "\n".join(f"- {escape(line)}" for line in said),
    ]
    for section in found:
        parts += [f"## {section.heading}", table_text(section.table), escape(section.explanation)]
    return "\n\n".join(parts) + "\n"


def _environment(grid: str, section: Section) -> str:
    return table_environment(
        section.table, f"{section.heading}. {section.explanation}", f"{grid}-{section.name}"
    )
