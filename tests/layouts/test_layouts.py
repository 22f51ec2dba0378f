"""Layouts: which one a grid gets, what its columns are, and how lines are grouped and ranked."""

from __future__ import annotations

from dataclasses import replace
from statistics import fmean, stdev
from typing import Any

import pytest
from results_factory import SECOND_METRIC, TASKS, Trained, make_results, results_of

from mtlbench.caption import caption
from mtlbench.entries import CHECK, DASH
from mtlbench.errors import MtlbenchError
from mtlbench.layouts.choose import LAYOUTS, layout_of
from mtlbench.layouts.main import main_table, with_look
from mtlbench.layouts.settings import COST_NAMES, EFFORTS, column_problems
from mtlbench.results import Results
from mtlbench.table import COSTS, Table, tabulate

PAIR = (("semseg", "depth"),)
SCORES = {"semseg": [0.4, 0.42, 0.41], "depth": [0.6, 0.61, 0.63]}


def row(**changes: Any) -> Trained:
    return replace(Trained("joint", PAIR, SCORES), **changes)


def names(table: Table) -> list[str]:
    return [column.name for column in table.columns]


def column(table: Table, name: str) -> list[str]:
    return [line.entries[table.index(name)].text for line in table.lines]


def with_options(results: Results, family: str, plugin: str, options: list[dict[str, Any]]) -> Results:
    """The same, knowing what the labels of the rows stand for."""
    settings = {i: {family: {"name": plugin, "options": given}} for i, given in enumerate(options)}
    return replace(results, settings=settings)


@pytest.mark.parametrize(
    ("rows", "layout"),
    [
        ([row(), row(method="DeMT")], "comparison"),
        ([row(), row(backbone="HRNet18")], "comparison"),
        ([row(), row(balancer="pcgrad")], "balancers"),
        ([row(), row(balancer="pcgrad"), row(method="DeMT")], "comparison"),
        ([row(), row(protocol="1.1", stages=(("semseg",),))], "protocols"),
        ([row()], "comparison"),
        ([row(role="baseline")], "comparison"),
    ],
)
def test_what_varies_decides(rows: list[Trained], layout: str) -> None:
    results = results_of(rows)
    assert layout_of(results) == layout
    assert main_table(results).layout == layout
    assert main_table(with_look(results, {"layout": "ablation"})).layout == "ablation"


def test_tunings_and_options_decide_too() -> None:
    results = results_of([row(method="a"), row(method="b"), row(method="multi_task")])
    results = with_options(results, "method", "degmix", [{"depth": 1}, {"depth": 2}, {"depth": 2}])
    assert layout_of(results) == "ablation"
    assert layout_of(replace(results, settings={})) == "comparison", "labels alone don't tell"
    tuned = results.rows.assign(tuning=["full", "lora", "full"])
    assert layout_of(replace(results, rows=tuned)) == "tuning"


def test_columns_of_a_layout() -> None:
    results = make_results()
    tasks = [task.name for task in TASKS]
    assert names(main_table(results)) == [
        "method", "balancer", "parameters", "macs", *tasks, "delta_m", "train_seconds",
    ]  # fmt: skip
    protocols = main_table(with_look(results, {"layout": "protocols"}))
    assert names(protocols)[2:] == [*(f"{task}_trained" for task in tasks), *tasks, "delta_m"]
    assert column(protocols, "depth_trained") == [CHECK] * 6


def test_numbers_are_the_same_in_every_layout() -> None:
    results, plain = make_results(), tabulate(make_results())
    for layout in LAYOUTS:
        table = main_table(with_look(results, {"layout": layout}))
        assert {*column(table, "semseg")} == {*column(plain, "semseg")}
        assert [line.row for line in table.lines] == [4 + 1, 4, 0, 1, 2, 3]


def test_columns_of_ones_own() -> None:
    results = make_results()
    second = SECOND_METRIC["depth"]
    table = main_table(with_look(results, {"columns": f"method,{second},peak_memory_mb,total_trainable"}))
    assert names(table) == ["method", second, "peak_memory_mb", "total_trainable"]
    scores = results.scores
    values = scores[(scores["row"] == 0) & (scores["metric"] == second)]["value"]
    (shown,) = (line.entries[1] for line in table.lines if line.row == 0)
    assert shown.mean == pytest.approx(fmean(values))
    assert table.columns[1].title == "rmse.images ↓"
    assert set(column(table, "total_trainable")) == {DASH}, "asked for, though nobody recorded it"
    assert f"is {second}" in caption(with_look(results, {"columns": ("method", second)}))
    assert "GMACs" not in caption(with_look(results, {"columns": ("method", second)}))


@pytest.mark.parametrize(
    ("look", "message"),
    [
        ({"columns": "method,detph"}, r"columns\[1\]: unknown column `detph`: did you mean `depth`"),
        ({"columns": "depth.rmse.image"}, "did you mean `depth.rmse.images`"),
        ({"layout": "table1"}, "layout: must be 'auto'"),
        ({"spread": "sem"}, "spread: must be 'std'"),
    ],
)
def test_wrong_looks_are_named(look: dict[str, str], message: str) -> None:
    with pytest.raises(MtlbenchError, match=message):
        with_look(make_results(), look)


def test_state_is_always_told() -> None:
    results = results_of([row(), row(method="DeMT", state="failed: hang")])
    table = main_table(with_look(results, {"columns": "method,depth"}))
    assert column(table, "state") == ["done", "failed: hang"]


def test_lines_are_grouped_by_backbone_and_ranked_there() -> None:
    better = {"semseg": [0.9] * 3, "depth": [0.1] * 3}
    rows = [
        row(method=method, backbone=backbone, scores=better if (method, backbone) == ("b", "ViT") else SCORES)
        for method in ("a", "b", "c")
        for backbone in ("Swin", "ViT")
    ]
    rows.append(row(role="baseline", method="single task", backbone="ViT"))
    table = main_table(results_of(rows))
    assert column(table, "backbone") == ["Swin"] * 3 + ["ViT"] * 4
    assert column(table, "method") == ["a", "b", "c", "single task", "a", "b", "c"]
    assert len({line.block for line in table.lines}) == 3
    ranks = [line.entries[table.index("semseg")].rank for line in table.lines]
    assert ranks == ["best", "best", "best", None, "second", "best", "second"]
    assert "candidates of one backbone that have" in caption(results_of(rows))
    plain = main_table(with_look(results_of(rows), {"group": "none"}))
    assert column(plain, "backbone") == ["ViT", *["Swin", "ViT"] * 3]
    assert "one backbone" not in caption(make_results())


def test_spread_is_what_was_asked_for() -> None:
    results = results_of([row()])
    values = [100 * value for value in SCORES["semseg"]]

    def shown(spread: str) -> str:
        return column(main_table(with_look(results, {"spread": spread})), "semseg")[0]

    reach = 4.302653 * stdev(values) / 3**0.5  # Student's t, 2 degrees of freedom
    assert shown("std") == "41.00 ± 1.00"
    assert shown("interval") == f"41.00 ± {reach:.2f}"
    assert shown("none") == "41.00"
    assert "half of the 95 % confidence interval" in caption(with_look(results, {"spread": "interval"}))


def test_options_are_columns_with_marks_or_values() -> None:
    options = [{"modules": ["dm"], "depth": 1}, {"modules": ["dm", "ti"]}, {"gate": True, "lr": 0.001}, {}]
    results = results_of([row(method=name) for name in "abcd"])
    results = with_options(results, "method", "degmix", options)
    defaults = {"method": {"degmix": {"modules": ["dm", "ti"], "depth": 2, "gate": False, "lr": 0.1}}}
    table = main_table(replace(results, defaults=defaults))
    assert table.layout == "ablation"
    assert column(table, "method.modules.dm") == [CHECK] * 4
    assert column(table, "method.modules.ti") == [DASH, CHECK, CHECK, CHECK]
    assert column(table, "method.depth") == ["1", "2", "2", "2"]
    assert column(table, "method.gate") == [DASH, DASH, CHECK, DASH]
    assert column(table, "method.lr") == ["0.1", "0.1", "0.001", "0.1"]
    assert column(main_table(results), "method.depth") == ["1", "default", "default", "default"]


def test_rows_of_other_methods_have_no_such_option() -> None:
    results = results_of([row(method=name) for name in "abc"])
    settings = {
        0: {"method": {"name": "degmix", "options": {"depth": 4}}},
        1: {"method": {"name": "degmix"}},
        2: {"method": {"name": "multi_task"}},
    }
    table = main_table(with_look(replace(results, settings=settings), {"layout": "ablation"}))
    assert column(table, "method.depth") == ["4", "default", DASH]


def test_single_inference_and_efforts() -> None:
    results = make_results(seeds=1)
    passes = (1, 4, 1, 1, 1)  # the second of the candidates has an encoder pass for each task
    lines = [(r, 0, 5e5, 2e6 * (r + 1), 2.5e6 * (r + 1), passes[r], 1.5) for r in range(5)]
    results = replace(results, efforts=type(results.costs)(lines, columns=list(EFFORTS)))
    table = main_table(with_look(results, {"layout": "tuning"}))
    single = dict(zip([line.role for line in table.lines], column(table, "single_inference"), strict=True))
    assert (single["baseline"], single["candidate"]) == ("no", "yes")
    at = table.index("single_inference")
    assert {line.row: line.entries[at].value for line in table.lines if line.row in (0, 1)} == {
        0: "yes",
        1: "no",
    }
    (first,) = (line for line in table.lines if line.row == 0)
    shown = {name: first.entries[table.index(name)].mean for name in EFFORTS[2:5]}
    assert shown == pytest.approx(
        {"encoder_trainable": 0.5, "decoder_trainable": 2.0, "total_trainable": 2.5}
    )
    hours = main_table(with_look(results, {"columns": "method,gpu_hours"}))
    assert column(hours, "gpu_hours")[-1] == "1.50"


def test_names_of_columns_and_their_headings_agree() -> None:
    assert {*COST_NAMES} == {*COSTS}
    for layout in LAYOUTS.values():
        assert not column_problems(layout.columns, ["semseg"])
    assert [place for place, _ in column_problems(["method.depth", "depth", "recipe.lr"], ["depth"])] == [2]
