"""Rows that differ in what they trained, side by side; nothing is written for grids that have none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from mtlbench.layouts.columns import stage_mark
from mtlbench.results import Results
from mtlbench.table import LABELS

from .latex import table_environment
from .markdown import escape, protocol_sections
from .protocol_tables import HEADING, Block, blocks, printed_value


def protocols(results: Results, folder: Path) -> list[Path]:
    """Write `protocols.md`, `protocols.tex` and `protocols.csv`: what was trained, and what came out."""
    paths = [folder / f"protocols.{suffix}" for suffix in ("md", "tex", "csv")]
    found = blocks(results)
    if not found:
        for path in paths:
            path.unlink(missing_ok=True)
        return []
    page, source, numbers = paths
    page.write_text(
        f"# {escape(results.grid)}: {HEADING.lower()}\n\n{protocol_sections(found)}\n", encoding="utf-8"
    )
    source.write_text("\n".join(_environments(results, found)), encoding="utf-8")
    tidy(results, found).to_csv(numbers, index=False)
    return paths


def tidy(results: Results, found: list[Block]) -> pd.DataFrame:
    """A line for each row and task of each block, in the units of the table, unrounded.

    Columns row, role, the labels, state, task, trained, stages (numbers, or a check mark), evaluated, metric,
    mean, std, seeds, printed, gap (positive = ours is better), remark. A baseline has a line in each block.
    """
    lines = []
    for block in found:
        for row, line in zip(block.rows, block.table.lines, strict=True):
            labels: dict[Any, Any] = results.rows.loc[row].to_dict()
            published = block.published.get(row)
            for task in results.tasks:
                if task.name not in {column.name for column in block.table.columns}:
                    continue
                entry = line.entries[block.table.index(task.name)]
                _, printed = printed_value(published, task)
                gap = None if entry.mean is None or printed is None else entry.mean - printed
                lines.append(
                    {
                        "row": row,
                        **{name: labels[name] for name in ("role", *LABELS, "state")},
                        "task": task.name,
                        "trained": task.name in labels["trained"],
                        "stages": stage_mark(task.name, labels["stages"]),
                        "evaluated": task.name in labels["evaluated"],
                        "metric": task.metric,
                        "mean": entry.mean,
                        "std": entry.std,
                        "seeds": entry.seeds,
                        "printed": printed,
                        "gap": None if gap is None else gap if task.higher_is_better else -gap,
                        "remark": published.remark if published else "",
                    }
                )
    return pd.DataFrame(lines)


def _environments(results: Results, found: list[Block]) -> list[str]:
    return [
        table_environment(
            block.table,
            " ".join([f"{HEADING}{f' of {block.name}' if block.name else ''}.", *block.notes]),
            f"{results.grid}-protocols-{i}",
        )
        for i, block in enumerate(found, start=1)
    ]
