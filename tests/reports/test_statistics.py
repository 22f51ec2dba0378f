"""The report of what numbers prove, read back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
from mtlbench.reports.statistics import statistics
from mtlbench.reports.statistics_tables import MOST_LINES, sections
from results_factory import UGLY, make_results, unfinished

from mtlbench.statistics.claims import ONE_SEED
from mtlbench.statistics.findings import findings
from mtlbench.statistics.paired import comparisons


def test_all_files(tmp_path: Path) -> None:
    results = make_results(labels=("a", UGLY, "c"), seeds=3)
    page, source, numbers = statistics(results, tmp_path)
    assert [path.name for path in (page, source, numbers)] == [
        "statistics.md",
        "statistics.tex",
        "statistics.csv",
    ]
    text = page.read_text(encoding="utf-8")
    assert text.count("\n- ") == len(findings(results))
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        "## Findings",
        "## Intervals of Δm",
        "## Comparisons",
        "## Mean ranks",
    ]
    assert "<script>" not in text
    assert source.read_text(encoding="utf-8").count(r"\end{table*}") == 3
    read = pd.read_csv(numbers)
    expected = comparisons(results)
    assert len(read) == len(expected)
    assert (read["p"] - expected["p"]).abs().max() < 1e-12
    assert set(read["a_name"]) | set(read["b_name"]) >= {"a · equal", f"{UGLY} · uncertainty"}


def test_one_seed_keeps_the_message_only(tmp_path: Path) -> None:
    assert len(statistics(make_results(candidates=2, seeds=2), tmp_path)) == 3
    (page,) = statistics(make_results(candidates=2, seeds=1), tmp_path)
    assert ONE_SEED in page.read_text(encoding="utf-8")
    assert [path.name for path in tmp_path.iterdir()] == ["statistics.md"]


def test_nothing_is_written_where_there_is_nothing_to_say(tmp_path: Path) -> None:
    empty = unfinished(make_results(candidates=2))
    assert statistics(replace(empty, rows=empty.rows.assign(state="done")), tmp_path) == []
    assert not [*tmp_path.iterdir()]


def test_printed_comparisons_are_cut_and_say_so() -> None:
    results = make_results(labels=tuple(f"m{i}" for i in range(15)), seeds=2, tasks=2)
    (found,) = [section for section in sections(results) if section.name == "comparisons"]
    assert len(found.table.lines) == 14 <= MOST_LINES
    assert "statistics.csv has more" in found.explanation
