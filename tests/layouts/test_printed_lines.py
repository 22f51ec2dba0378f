"""Lines that papers printed: where they stand, what they hold, and what they are compared with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from mtlbench.reports.csv import csv
from mtlbench.reports.latex import environment
from mtlbench.reports.markdown import markdown
from results_factory import TASKS, Trained, results_of

from mtlbench.caption import caption
from mtlbench.config import find_grid, load_grid
from mtlbench.entries import DASH, Entry
from mtlbench.layouts.collected import defaults_of, settings_of
from mtlbench.layouts.main import main_table, with_look
from mtlbench.plan import expand
from mtlbench.published_numbers import read_published
from mtlbench.registry import Registry
from mtlbench.results import Results, TaskColumn
from mtlbench.table import Line, Table

ODSF = TaskColumn("edge", "odsF", "edge.seism.nyud.odsF", True, 100.0)
NYUD = (*TASKS[:3], ODSF)
FOUR = ("semseg", "depth", "normals", "edge")
SCORES = {"semseg": [0.47, 0.49], "depth": [0.58, 0.57], "normals": [20.2, 20.4], "edge": [0.77, 0.78]}
TABLE = ("degmix_table1_nyud",)


def row(**changes: Any) -> Trained:
    return replace(Trained("joint", (FOUR,), SCORES, dataset="nyud"), **changes)


def with_table(
    *rows: Trained, tasks: tuple[TaskColumn, ...] = NYUD, tables: tuple[str, ...] = TABLE
) -> Results:
    return replace(results_of(rows, tasks), published=tables)


@pytest.fixture(scope="module")
def results() -> Results:
    return with_table(
        row(role="baseline", method="single_task", networks=4),
        row(method="degmix"),
        row(method="DeMT"),
        row(method="Mine"),
        row(method="DeMT", backbone="hrnet18"),
    )


@pytest.fixture(scope="module")
def table(results: Results) -> Table:
    return main_table(results)


def entries(table: Table, line: Line) -> dict[str, Entry]:
    return {column.name: entry for column, entry in zip(table.columns, line.entries, strict=True)}


def printed(table: Table, method: str, backbone: str) -> dict[str, Entry]:
    (found,) = (
        entry
        for line in table.lines
        if line.published and (entry := entries(table, line))["method"].value == method
        if entry["backbone"].value == backbone
    )
    return found


def test_every_printed_row_is_there_once(table: Table) -> None:
    lines = [line for line in table.lines if line.published]
    shown = [tuple(entries(table, line)[name].value for name in ("method", "backbone")) for line in lines]
    assert sorted(shown) == sorted((r.model, r.backbone) for r in read_published(TABLE[0]))
    assert {line.row for line in lines} == {-1}
    assert {line.published for line in lines} == {*TABLE}


def test_it_stands_behind_the_row_that_reproduces_it(table: Table) -> None:
    shown = [(line.published, *(e.value for e in line.entries[:2])) for line in table.lines]
    for method, theirs in (
        ("single_task", "single task baseline"),
        ("degmix", "DeGMix (paper)"),
        ("DeMT", "DeMT"),
    ):
        at = shown.index(("", "Swin-T", method))
        assert shown[at + 1] == (TABLE[0], "Swin-T", theirs)
    at = shown.index(("", "Swin-T", "Mine"))
    assert shown[at + 1] == (TABLE[0], "Swin-T", "multi-task baseline"), "nothing of ours reproduces it"
    assert shown.index((TABLE[0], "HRNet18", "ATRC")) < shown.index(("", "hrnet18", "DeMT")) + 12
    assert shown[-1][1] == "ViT-L", "backbones that we don't have come last"


def test_numbers_are_as_printed_with_the_gap_in_the_metrics_unit(table: Table) -> None:
    found = printed(table, "DeGMix (paper)", "Swin-T")
    assert [found[task].value for task in FOUR] == ["47.30", "0.5630", "20.14", "77.20"]
    assert found["semseg"].gap == pytest.approx(48.0 - 47.30)
    assert found["depth"].gap == pytest.approx(0.5630 - 0.575), "an error: larger is worse"
    assert found["depth"].text == "0.5630 (−0.0120)"  # noqa: RUF001
    assert found["edge"].gap_text == "+0.30"
    assert found["method"].text == "DeGMix (paper) [P]"
    alone = printed(table, "ATRC", "HRNet18")
    assert alone["semseg"].text == "38.90"
    assert {entry.gap for entry in alone.values()} == {None}


def test_ours_and_theirs_are_not_ranked_together(table: Table) -> None:
    assert {e.rank for line in table.lines if line.published for e in line.entries} == {None}
    bare = main_table(with_table(*[row(method=m) for m in ("degmix", "DeMT", "Mine")], tables=()))
    with_theirs = main_table(with_table(*[row(method=m) for m in ("degmix", "DeMT", "Mine")]))
    ours = [line.entries for line in with_theirs.lines if not line.published]
    assert ours == [line.entries for line in bare.lines]


def test_another_variant_of_the_metric_has_no_gap() -> None:
    other = replace(TASKS[1], metric="depth.rmse.images")
    ours = [row(), row(backbone="HRNet18")]
    table = main_table(with_table(*ours, tasks=(TASKS[0], other, *NYUD[2:])))
    found = printed(table, "DeGMix (paper)", "Swin-T")
    assert found["depth"].text == f"0.5630‡ ({DASH})"
    assert found["depth"].gap is None
    assert found["semseg"].gap is not None


def test_a_number_of_another_kind_is_not_shown() -> None:
    """MTFormer's saliency is a mIoU, in a column of maxF."""
    tasks = (
        TASKS[0],
        TaskColumn("human_parts", "mIoU", "parts.atrc", True, 100.0),
        TaskColumn("sal", "maxF", "sal.maxF.dataset.b0.3", True, 100.0),
    )
    scores = {task.name: [0.7] for task in tasks}
    ours = row(
        scores=scores, stages=((*scores,),), dataset="pascal_context", backbone="Swin", method="MTFormer"
    )
    table = main_table(with_table(ours, tasks=tasks, tables=("degmix_table2_pascal",)))
    (line,) = (
        li for li in table.lines if li.published and "Former" in entries(table, li)["method"].value[:8]
    )
    found = entries(table, line)
    assert found["semseg"].gap == pytest.approx(70 - 74.15)
    assert found["sal"].value == DASH


def test_backbones_without_a_column_are_named_with_the_method() -> None:
    table = main_table(with_table(row()))
    shown = {entries(table, line)["method"].value for line in table.lines}
    assert {"DeGMix", "DeGMix (paper)", "DeMT", "DeMT on HRNet18", "TaskPrompter on ViT-L"} < shown


@pytest.mark.parametrize(
    "other",
    [
        row(scores={"semseg": [0.4], "depth": [0.5]}, stages=(("semseg", "depth"),)),
        row(backbone="Swin-S", method="my DeGMix"),
        row(method="DeGMix (paper)", backbone="ConvNeXt"),
    ],
)
def test_another_experiment_has_no_gap(other: Trained) -> None:
    lines = main_table(with_table(other)).lines
    assert len([line for line in lines if line.published]) == 37
    assert not any(entry.gap_text for line in lines for entry in line.entries)


def test_another_data_set_is_said_and_not_shown() -> None:
    results = with_table(row(dataset="rooms"))
    assert not any(line.published for line in main_table(results).lines)
    assert "Nothing is shown of" in caption(results)


def test_auto_finds_the_tables_of_the_data_set() -> None:
    results = with_table(row(), tables=("auto",))
    results = replace(results, settings={0: {"dataset": {"name": "nyud"}}})
    assert {line.published for line in main_table(results).lines} == {"", *TABLE, "transformer_family_nyud"}
    assert "[P2]: printed in" in caption(results)
    assert main_table(with_look(results, {"layout": "balancers"})).notes == ()


def test_captions_say_where_numbers_are_from(results: Results) -> None:
    text = caption(results)
    assert "[P]: printed in Xu et al., DeGMix" in text
    assert "Table I (degmix_table1_nyud); not ranked" in text
    assert "ours minus the printed number, turned so that + means ours is better" in text
    assert "rows are incomplete" not in text


def test_files_hold_them(results: Results, table: Table, tmp_path: Path) -> None:
    page = markdown(results, tmp_path)[0].read_text()
    assert r"| _Swin-T_ | _DeGMix (paper) \[P\]_ | 47.30 (+0.70) |" in page
    assert "## Printed rows" in page
    assert "copying slip" in page
    assert r"\textit{47.30} {\scriptsize(+0.70)}" in environment(results)
    _, shown, *_ = csv(results, tmp_path)
    read = pd.read_csv(shown)
    assert len(read) == len(table.lines)
    (line,) = read[(read["method"] == "DeGMix (paper)") & (read["backbone"] == "Swin-T")].to_dict("records")
    assert (line["row"], line["role"], line["published"]) == (-1, "published", TABLE[0])
    assert (line["semseg"], line["depth"]) == (47.30, 0.5630)
    assert line["depth_gap"] == pytest.approx(0.5630 - 0.575)
    (ours,) = read[read["method"] == "degmix"].to_dict("records")
    assert ours["semseg"] == pytest.approx(48.0)
    assert ours["semseg_seeds"] == 2


@pytest.mark.parametrize(
    ("name", "layout", "lines", "compared"),
    [
        ("nyud_table1", "comparison", 37, 35),
        ("nyud_table1_two_tasks", "comparison", 37, 2),
        ("pascal_table2", "comparison", 27, 25),
        ("pascal_table2_three_tasks", "comparison", 27, 2),
        ("cityscapes_table3", "balancers", 9, 8),
        ("nyud_table4", "protocols", 14, 14),
        ("nyud_table5", "ablation", 13, 13),
        ("nyud_table5_backbones", "comparison", 5, 4),
        ("nyud_table6", "ablation", 5, 5),
    ],
)
def test_ready_grids_find_their_tables(name: str, layout: str, lines: int, compared: int) -> None:
    registry = Registry()
    grid = load_grid(find_grid(name), registry)
    rows = expand(grid, registry).rows
    assert grid.report.layout == layout
    tasks = {
        task: TaskColumn(task, t.column, t.primary, t.higher_is_better, t.scale)
        for dataset in grid.datasets
        for task, t in registry.load("dataset", dataset.choice.name).tasks.items()
    }
    trained = [
        Trained(
            protocol=found.labels["protocol"],
            stages=found.stages,
            scores={task: [0.5] for task in found.tasks},
            role=found.role,
            **{axis: found.labels[axis] for axis in ("method", "balancer", "backbone", "dataset")},
        )
        for found in rows
    ]
    results = results_of(trained, [tasks[task] for task in grid.tasks or ()])
    results = replace(
        results,
        published=grid.published,
        report=grid.report,
        settings=settings_of([found.record() for found in rows]),
        defaults=defaults_of(rows, registry),
    )
    table = main_table(results)
    theirs = [line for line in table.lines if line.published]
    assert len(theirs) == lines
    matched = [line for line in theirs if any(entry.gap is not None for entry in line.entries)]
    assert len(matched) == compared
