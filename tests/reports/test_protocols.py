"""Rows that differ in what they trained: marks in the main table, and the tables of protocols."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from mtlbench.reports.csv import csv
from mtlbench.reports.gain import gain
from mtlbench.reports.html import html
from mtlbench.reports.latex import environment, latex
from mtlbench.reports.markdown import markdown
from mtlbench.reports.protocol_tables import Block, blocks
from mtlbench.reports.protocols import protocols
from results_factory import TASKS, Trained, make_protocols, make_results, results_of, unfinished

from mtlbench.caption import caption
from mtlbench.entries import DASH, Entry
from mtlbench.layouts.columns import stage_mark
from mtlbench.results import Results, TaskColumn, whole_rows
from mtlbench.table import Table, tabulate, valid_delta_m

ODSF = TaskColumn("edge", "odsF", "edge.seism.nyud.odsF", True, 100.0)
NYUD = (*TASKS[:3], ODSF)
FOUR = ("semseg", "depth", "normals", "edge")
SCORES = {"semseg": [0.47, 0.49], "depth": [0.58, 0.57], "normals": [20.2, 20.4], "edge": [0.77, 0.78]}


def some(*tasks: str, **changes: list[float]) -> dict[str, list[float]]:
    return {**{task: SCORES[task] for task in tasks}, **changes}


@pytest.fixture(scope="module")
def results() -> Results:
    """In the form of Table IV: two tasks, all four, one added, edge left out, and a row that is blocked."""
    pair, three = ("semseg", "depth"), ("semseg", "depth", "normals")
    rows = [
        Trained("", (FOUR,), SCORES, role="baseline", method="single task", balancer="", networks=4),
        Trained("1.1", (pair,), some(*pair)),
        Trained("1.6", (FOUR,), some(*FOUR, semseg=[0.45, 0.46])),
        Trained("2.1", (pair, three), some(*three), base=1),
        Trained("3.1", (three,), some(*FOUR, edge=[0.9, 0.92])),
        Trained("3.2", (("semseg", "depth", "edge"),), some(*FOUR), state="blocked: its base failed"),
        Trained("joint", (FOUR,), some(*FOUR), method="PAD-Net"),
    ]
    made = results_of([replace(row, dataset="NYUD-v2") for row in rows], NYUD)
    made = replace(made, published=("degmix_table4_protocols",))
    deltas = [(row, seed, 1.0) for row in range(7) for seed in (0, 1)]
    return replace(made, delta_m=pd.DataFrame(deltas, columns=["row", "seed", "delta_m"]))


@pytest.fixture(scope="module")
def block(results: Results) -> Block:
    (found,) = blocks(results)
    return found


def entries(table: Table, row: int) -> dict[str, Entry]:
    (line,) = (line for line in table.lines if line.row == row)
    return {column.name: entry for column, entry in zip(table.columns, line.entries, strict=True)}


def test_scores_of_untrained_tasks_are_marked_and_not_ranked(results: Results) -> None:
    table = tabulate(results)
    edge = entries(table, 4)["edge"]
    assert edge.text == "91.00† ± 1.41"
    assert edge.rank is None
    assert entries(table, 2)["edge"].rank == "best"
    assert entries(table, 4)["semseg"].mark == ""
    assert "†: the row did not train this task" in caption(results)
    assert "†" not in caption(make_results())


def test_untrained_tasks_do_not_cost_the_others_decimals() -> None:
    rows = [
        Trained("1.1", (FOUR[:2],), some(*FOUR[:2])),
        Trained("3.3", (FOUR[:1],), some("semseg", depth=[3.01])),
    ]
    table = tabulate(results_of(rows, NYUD))
    assert [entries(table, row)["depth"].value for row in (0, 1)] == ["0.5750", "3.0100"]


def test_delta_m_is_of_rows_that_trained_all_tasks(results: Results) -> None:
    assert whole_rows(results.rows) == {0, 2, 6}
    assert set(valid_delta_m(results)["row"]) == {0, 2, 6}
    table = tabulate(results)
    assert [entries(table, row)["delta_m"].value for row in (1, 2, 3, 4)] == [DASH, "+1.00", DASH, DASH]
    assert "rows that did not train and score all of these tasks have none" in caption(results)
    assert "T = 4" in caption(results)
    assert "have none" not in caption(make_results())


def test_data_sets_may_have_other_tasks() -> None:
    rows = [
        Trained("joint", (("semseg", "depth"),), some("semseg", "depth")),
        Trained("joint", (("edge",),), some("edge"), dataset="nyud"),
        Trained("joint", (("semseg",),), some("semseg")),
    ]
    assert whole_rows(results_of(rows).rows) == {0, 1}


def test_marks_are_in_every_report(results: Results, tmp_path: Path) -> None:
    assert "91.00† ± 1.41" in markdown(results, tmp_path)[0].read_text()
    page = re.sub(r"<[^>]+>", "", html(results, tmp_path)[0].read_text())
    assert "91.00† ± 1.41" in page
    assert r"91.00$^\dagger$ {\scriptsize$\pm$ 1.41}" in environment(results)
    read = pd.read_csv(csv(results, tmp_path)[0])
    untrained = read[read["trained"].astype(str) == "False"]
    assert set(zip(untrained["row"], untrained["task"], strict=True)) == {(4, "edge"), (5, "normals")}
    assert read[read["metric"] == "delta_m"]["trained"].isna().all()


def test_gains_of_untrained_tasks_are_marked() -> None:
    rows = [
        Trained("", (FOUR,), some(*FOUR, edge=[0.5, 0.5]), role="reference", method="constant"),
        Trained("3.1", (FOUR[:3],), some(*FOUR, edge=[0.4, 0.4])),
    ]
    found = gain(results_of(rows, NYUD))
    assert found is not None
    assert entries(found, 1)["edge"].text == "−10.00† ± 0.00"  # noqa: RUF001


@pytest.mark.parametrize(
    ("stages", "marks"),
    [
        ([["a", "b"]], ["✓", "✓", DASH]),
        ([["a"], ["a", "b"], ["a", "b", "c"]], ["1–3", "2–3", "3"]),  # noqa: RUF001
        ([["a", "b"], ["b", "c"], ["a", "c"]], ["1, 3", "1–2", "2–3"]),  # noqa: RUF001
    ],
)
def test_stages_are_numbered_where_there_are_several(stages: list[list[str]], marks: list[str]) -> None:
    assert [stage_mark(task, stages) for task in "abc"] == marks


def test_a_block_holds_the_baseline_and_the_methods_rows(block: Block) -> None:
    assert block.name == "DeGMix"
    assert block.rows == (0, 1, 2, 3, 4, 5)
    assert [entries(block.table, row)["experiment"].value for row in block.rows] == [
        "single task", "1.1", "1.6", "2.1", "3.1", "3.2",
    ]  # fmt: skip
    added = entries(block.table, 3)
    assert [added[f"{task}_trained"].value for task in FOUR] == ["1–2", "1–2", "2", DASH]  # noqa: RUF001
    assert entries(block.table, 4)["edge_trained"].value == DASH
    assert added["edge"].value == DASH
    assert entries(block.table, 5)["state"].value == "blocked: its base failed"
    assert not any(entry.rank for line in block.table.lines for entry in line.entries)


def test_printed_values_stand_beside_ours_with_the_gap(block: Block) -> None:
    whole = entries(block.table, 2)
    assert [whole[f"{task}_printed"].value for task in FOUR] == ["47.30", "0.5630", "20.14", "77.2"]
    assert whole["semseg_gap"].mean == pytest.approx(45.5 - 47.30)
    assert whole["depth_gap"].value == "−0.0120"  # noqa: RUF001
    assert whole["edge_gap"].text == "+0.30"
    assert entries(block.table, 1)["edge_printed"].value == entries(block.table, 1)["edge_gap"].value == DASH
    assert entries(block.table, 0)["semseg_printed"].value == DASH


def test_notes_say_what_was_printed_oddly(block: Block) -> None:
    notes = " ".join(block.notes)
    assert "Printed row 3.2: edge was trained and scores 22.5" in notes
    assert "need not reproduce it." in notes
    assert "Printed row 3.3" not in notes
    assert "single task: a network for each task" in notes
    assert "†: scored, but never trained" in notes


@pytest.mark.parametrize(
    ("changes", "tasks", "lacks"),
    [
        ({"backbone": "HRNet18"}, NYUD, FOUR),
        ({"dataset": "rooms"}, NYUD, FOUR),
        ({"method": "PAD-Net"}, NYUD, FOUR),
        ({"scores": some("semseg", "depth", "normals")}, NYUD, FOUR),
        ({}, TASKS, ("edge",)),
    ],
)
def test_printed_values_are_of_the_same_experiment_and_metric(
    changes: dict[str, object], tasks: tuple[TaskColumn, ...], lacks: tuple[str, ...]
) -> None:
    row = replace(Trained("1.6", (FOUR,), SCORES, dataset="nyud (root=data)"), **changes)  # type: ignore[arg-type]
    other = replace(row, protocol="x", stages=(FOUR[:3],))
    made = replace(results_of([row, other], tasks), published=("degmix_table4_protocols",))
    (found,) = blocks(made)
    names = {column.name for column in found.table.columns}
    assert {task for task in FOUR if f"{task}_printed" not in names} == set(lacks)


def test_files_agree_with_the_tables(results: Results, block: Block, tmp_path: Path) -> None:
    page, source, numbers = protocols(results, tmp_path)
    assert [path.name for path in (page, source, numbers)] == [
        "protocols.md", "protocols.tex", "protocols.csv",
    ]  # fmt: skip
    lines = [line for line in page.read_text().splitlines() if line.startswith("| ")][2:]
    for text, line in zip(lines, block.table.lines, strict=True):
        assert [cell.strip() for cell in text.split("|")[1:-1]] == [entry.text for entry in line.entries]
    body = [line for line in source.read_text().splitlines() if line.endswith(r"\tabularnewline")][2:]
    assert len(body) == len(block.table.lines)
    assert body[2].startswith(r"1.6 & $\checkmark$ & $\checkmark$ & $\checkmark$ & $\checkmark$ & 45.50 ")
    assert body[3].startswith("2.1 & 1--2 & 1--2 & 2 & --- & ")
    assert source.read_text().startswith(r"% needs \usepackage{booktabs,graphicx,amssymb}")
    read = pd.read_csv(numbers, dtype={"protocol": str}).set_index(["protocol", "task"])
    assert len(read) == 6 * 4
    found = read.loc[("1.6", "depth")]
    assert (found["printed"], found["seeds"], found["stages"]) == (0.563, 2, "✓")
    assert found["mean"] == pytest.approx(0.575)
    assert found["gap"] == pytest.approx(0.563 - 0.575)
    assert pd.isna(read.loc[("1.1", "edge"), "mean"])
    assert not read.loc[("3.1", "edge"), "trained"]
    assert read.loc[("3.1", "edge"), "evaluated"]


def test_every_report_shows_them(results: Results, block: Block, tmp_path: Path) -> None:
    assert "## Protocols" in markdown(results, tmp_path)[0].read_text()
    page = html(results, tmp_path)[0].read_text()
    assert 'href="#protocols"' in page
    assert 'id="protocols-table-1"' in page
    assert block.notes[-1] in page
    document = latex(results, tmp_path)[1].read_text()
    assert r"\input{protocols}" in document


def test_nothing_is_written_where_rows_trained_the_same(results: Results, tmp_path: Path) -> None:
    protocols(results, tmp_path)
    assert protocols(make_results(), tmp_path) == []
    assert list(tmp_path.iterdir()) == []
    assert "Protocols" not in markdown(make_results(candidates=1, seeds=1, tasks=1), tmp_path)[0].read_text()


def test_grid_that_has_nothing_yet(tmp_path: Path) -> None:
    page, *_ = protocols(unfinished(make_protocols()), tmp_path)
    assert "1.1" in page.read_text()
