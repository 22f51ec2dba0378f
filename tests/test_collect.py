"""From run folders to results: rows of several stages, and the paper's table that a grid names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cells_factory import make_cell, make_result

from mtlbench.collect import collect
from mtlbench.folder import Job
from mtlbench.results import Results
from mtlbench.row_records import AXES
from mtlbench.spec import Cell
from mtlbench.store import Runs

BASE = make_cell("depth")
ADDED = make_cell("depth", "semseg", start=BASE)
SINGLE = [make_cell("depth", batch_size=4), make_cell("semseg", batch_size=4)]


def row(stages: list[list[str]], cells: list[Cell], role: str = "candidate") -> dict[str, Any]:
    return {
        "role": role,
        "labels": {**dict.fromkeys(AXES, "x"), "protocol": f"{len(stages)} stages"},
        "tasks": stages[-1],
        "trained": stages[-1],
        "stages": stages,
        "cells": {"0": [cell.id for cell in cells]},
        "skipped": None,
    }


@pytest.fixture
def results(tmp_path: Path) -> Results:
    runs = Runs(tmp_path)
    both = ["depth", "semseg"]
    rows = [
        row([both], SINGLE, role="baseline"),
        row([["depth"]], [BASE]),
        row([["depth"], both], [ADDED]),
    ]
    runs.save_grid("grid", rows, "degmix_table4_protocols")
    for cell in (*SINGLE, BASE, ADDED):
        folder = runs.folder(cell)
        folder.create(Job(cell=cell, folder=folder.path))
        result = make_result(cell, score=0.4 if cell is ADDED else 0.5)
        seconds = 20.0 if cell is ADDED else 10.0
        costs = result.costs.model_copy(update={"train_seconds": seconds, "images_per_second": seconds})
        folder.finish(result.model_copy(update={"costs": costs}))
    runs.index([cell.id for cell in (*SINGLE, BASE, ADDED)])
    return collect(runs, "grid")


def test_rows_hold_what_they_were_trained_on(results: Results) -> None:
    rows = results.rows
    assert list(rows["trained"]) == [("depth", "semseg"), ("depth",), ("depth", "semseg")]
    assert list(rows["networks"]) == [2, 1, 1]
    assert list(rows["base"]) == [-1, -1, 1]
    assert rows["stages"][2] == (("depth",), ("depth", "semseg"))


def test_times_are_of_all_stages(results: Results) -> None:
    costs = results.costs.set_index("row")
    assert list(costs["train_seconds"]) == [20, 10, 30]
    assert costs["images_per_second"][2] == pytest.approx((20 * 20 + 10 * 10) / 30)
    assert list(costs["parameters"]) == [2, 1, 1]


def test_delta_m_leaves_out_rows_of_fewer_tasks(results: Results) -> None:
    found = results.delta_m.set_index("row")["delta_m"]
    assert dict(found) == {0: 0.0, 2: pytest.approx(20.0)}


def test_recipes_say_which_stage_comes_later(results: Results) -> None:
    assert "; then 40000 iterations" in results.captions["recipe"]


def test_the_papers_table_comes_along(results: Results, tmp_path: Path) -> None:
    assert results.published == ("degmix_table4_protocols",)
    Runs(tmp_path).save_grid("other", [row([["depth"]], [BASE])])
    assert collect(Runs(tmp_path), "other").published == ()
