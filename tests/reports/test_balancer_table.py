"""The table of what balancers cost, and the warning where they had no solution, in all reports."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from mtlbench.reports.csv import csv
from mtlbench.reports.html import html
from mtlbench.reports.latex import latex
from mtlbench.reports.markdown import markdown
from results_factory import UGLY, make_results, unfinished, without_seeds

from mtlbench.balancer_table import balancers, warnings
from mtlbench.entries import DASH
from mtlbench.results import Results

FAILED = "no solution in 9 of 1200 steps; the weights of the step before were kept."


@pytest.fixture
def results() -> Results:
    """Rows 2 and 5 work on gradients; row 5 failed three times with each of three seeds."""
    return make_results(candidates=6, tasks=2)


def entries(results: Results, row: int) -> dict[str, str]:
    table = balancers(results)
    assert table is not None
    (line,) = (line for line in table.lines if line.row == row)
    return {column.name: entry.text for column, entry in zip(table.columns, line.entries, strict=True)}


def test_rows_are_the_candidates_with_their_numbers(results: Results) -> None:
    table = balancers(results)
    assert table is not None
    assert [line.row for line in table.lines] == [0, 1, 2, 3, 4, 5]
    assert entries(results, 5) == {
        "method": "Multi-task",
        "balancer": "pcgrad",
        "at": "representation",
        "milliseconds": "105.0 ± 0.0",
        "share": "35.0 ± 0.0",
        "gradient_memory_mb": "185.0",
        "failures": "9 of 1200 steps",
    }
    assert entries(results, 0)["at"] == "losses only"
    assert entries(results, 0)["failures"] == "0"


def test_steps_between_solutions_are_a_column_where_any_are_skipped(results: Results) -> None:
    costs = results.balancers.copy()
    costs.loc[costs["row"] == 2, "every"] = 4
    skipping = replace(results, balancers=costs)
    assert entries(skipping, 2)["every"] == "4 steps"
    assert entries(skipping, 5)["every"] == "step"


def test_no_table_where_balancers_cost_nothing(results: Results, tmp_path: Path) -> None:
    assert len(latex(results, tmp_path)) == 3
    cheap = make_results(candidates=2)
    assert balancers(cheap) is None
    assert warnings(cheap) == []
    assert [path.name for path in latex(cheap, tmp_path)] == ["table.tex", "table_document.tex"]
    assert not (tmp_path / "balancers.tex").exists()
    costly = replace(cheap, balancers=cheap.balancers.assign(share=0.02))
    assert balancers(costly) is not None


def test_runs_of_before_have_no_table(results: Results, tmp_path: Path) -> None:
    before = replace(
        results,
        balancers=results.balancers.iloc[:0],
        balancing=results.balancing.iloc[:0],
        gradients=results.gradients.iloc[:0],
    )
    assert balancers(before) is None
    assert "Cost of balancers" not in markdown(before, tmp_path)[0].read_text()
    assert balancers(unfinished(results)) is None


def test_missing_and_fewer_numbers_say_so(results: Results) -> None:
    costs = results.balancers.copy()
    costs.loc[costs["row"] == 2, ["milliseconds", "share"]] = float("nan")
    fewer = without_seeds(replace(results, balancers=costs), 5, (1, 2), "1 of 3 seeds")
    assert entries(fewer, 2)["share"] == DASH
    assert entries(fewer, 5)["share"] == "35.0 (1 of 3)"
    assert entries(fewer, 5)["failures"] == "3 of 400 steps"


def test_failures_are_warned_of_in_every_report(results: Results, tmp_path: Path) -> None:
    (warning,) = warnings(results)
    assert warning == f"Multi-task · pcgrad: {FAILED}"
    assert f"> **Warning:** Multi-task · pcgrad: {FAILED}" in markdown(results, tmp_path)[0].read_text()
    assert warning in html(results, tmp_path)[0].read_text()
    assert FAILED in latex(results, tmp_path)[-1].read_text()


def test_the_table_is_in_every_report(tmp_path: Path) -> None:
    results = make_results(labels=("A", "B", UGLY), tasks=2)
    for path in (
        markdown(results, tmp_path)[0],
        html(results, tmp_path)[0],
        latex(results, tmp_path)[-1],
    ):
        text = path.read_text()
        assert "Cost of balancers" in text
        assert "shared parameters" in text
        assert "182.0" in text
        assert "<script>alert" not in text


def test_csv_has_the_numbers(results: Results, tmp_path: Path) -> None:
    read = pd.read_csv(csv(results, tmp_path)[0])
    of_row = read[(read["row"] == 5) & (read["seed"] == 1)].set_index("metric")["value"]
    assert of_row["balancer_milliseconds"] == pytest.approx(105)
    assert of_row["balancer_share"] == pytest.approx(0.35)
    assert of_row["gradient_memory_mb"] == 185
    assert of_row["balancer_failures"] == 3
