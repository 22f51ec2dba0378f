"""`mtlbench.load`, and the examples of docs/results.md on what it gives."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd
import pytest
from cells_factory import make_cell, make_result

import mtlbench
from mtlbench.errors import MtlbenchError
from mtlbench.folder import Job, Result, TaskRecord
from mtlbench.spec import Cell, Choice, Recipe
from mtlbench.store import Runs

PAGE = Path(__file__).parent.parent / "docs" / "results.md"
METRICS = {"semseg": "miou.dataset.absent0", "depth": "depth.rmse.pixels"}


def result(cell: Cell, **scores: float) -> Result:
    """Primary scores by task; depth also has the mean over images, twice as large."""
    made = make_result(cell)
    records = {
        task: TaskRecord(metric=METRICS[task], heading="", higher_is_better=task == "semseg", scale=100)
        for task in scores
    }
    values = {task: {METRICS[task]: value} for task, value in scores.items()}
    if "depth" in values:
        values["depth"]["depth.rmse.images"] = 2 * scores["depth"]
    return made.model_copy(update={"tasks": records, "scores": values})


def store(root: Path, *found: Result) -> Runs:
    runs = Runs(root)
    for one in found:
        folder = runs.folder(one.cell)
        folder.create(Job(cell=one.cell, folder=folder.path))
        folder.finish(one)
    return runs


def cell(*tasks: str, method: str = "multi_task", seed: int = 0, **changes: Any) -> Cell:
    return make_cell(*tasks, seed=seed).changed(method=Choice(name=method), **changes)


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    """Two seeds: multi_task gains 10 % and 20 % in semseg, loses 2 % and 4 % in depth."""
    found = [
        result(cell("semseg", "depth"), semseg=0.55, depth=1.02),
        result(cell("semseg", "depth", seed=1), semseg=0.60, depth=1.04),
    ]
    for seed in (0, 1):
        found.append(result(cell("semseg", method="single_task", seed=seed), semseg=0.5))
        found.append(result(cell("depth", method="single_task", seed=seed), depth=1.0))
    made = store(tmp_path / "runs", *found)
    made.save_grid("joint", [{"labels": {}, "cells": {"0": [found[0].cell.id], "1": [found[1].cell.id]}}])
    return made


def test_columns_are_those_that_are_documented(runs: Runs) -> None:
    table = PAGE.read_text(encoding="utf-8").partition("| column | holds |")[2].partition("\n\n")[0]
    documented = [
        name for line in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", line.split("|")[1])
    ]
    assert list(mtlbench.load(runs.root).columns) == documented


def test_a_line_for_each_score(runs: Runs) -> None:
    frame = mtlbench.load(runs.root)
    assert len(frame) == 2 * 3 + 2 * 1 + 2 * 2
    joint = frame[(frame.method == "multi_task") & (frame.seed == 1)].set_index("metric")
    assert joint.value.to_dict() == {
        "miou.dataset.absent0": 0.60,
        "depth.rmse.pixels": 1.04,
        "depth.rmse.images": 2.08,
    }
    assert joint.primary.to_dict() == {
        "miou.dataset.absent0": True,
        "depth.rmse.pixels": True,
        "depth.rmse.images": False,
    }
    direction = joint.higher_is_better
    assert direction[direction.notna()].to_dict() == {
        "miou.dataset.absent0": True,
        "depth.rmse.pixels": False,
    }
    assert set(joint.tasks) == {"semseg,depth"}
    assert {*joint.cell} == {cell("semseg", "depth", seed=1).id}


def test_what_tells_cells_apart(tmp_path: Path) -> None:
    first = make_cell("semseg", "depth")
    second = make_cell("semseg", "depth", start=first).changed(
        left_out=("semseg",),
        method=Choice(name="degmix", options={"depth": 2}),
        recipe=Recipe(lr=0.5),
    )
    frame = mtlbench.load(store(tmp_path, result(second, depth=1.0)).root)
    assert frame.iloc[0][["method", "recipe", "tasks", "trained", "stage", "split"]].to_list() == [
        "degmix (depth=2)",
        '{"lr": 0.5}',
        "semseg,depth",
        "depth",
        1,
        "val",
    ]


def test_one_grid(runs: Runs) -> None:
    assert set(mtlbench.load(runs.root, grid="joint").method) == {"multi_task"}
    with pytest.raises(MtlbenchError, match=r"unknown grid .* `jiont`: did you mean `joint`"):
        mtlbench.load(runs.root, grid="jiont")


def test_trials_only_where_asked_for(runs: Runs) -> None:
    before = mtlbench.load(runs.root)
    store(runs.root, result(cell("depth", holdout=0.25), depth=0.1))
    pd.testing.assert_frame_equal(mtlbench.load(runs.root), before)
    everything = mtlbench.load(runs.root, held_out=True)
    assert everything.split.value_counts().to_dict() == {"val": len(before), "holdout": 2}


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(MtlbenchError, match="no runs in"):
        mtlbench.load(tmp_path)
    Runs(tmp_path).save_grid("begun", [])
    assert mtlbench.load(tmp_path).empty


def test_examples_of_the_page(
    runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    matplotlib.use("Agg")
    monkeypatch.chdir(tmp_path)
    part = PAGE.read_text(encoding="utf-8").partition("## Reading results")[2].partition("\n## ")[0]
    examples = re.findall(r"^```python\n(.*?)^```$", part, flags=re.MULTILINE | re.DOTALL)
    assert len(examples) == 4
    names: dict[str, Any] = {}
    for example in examples:
        exec(example, names)
    assert names["means"].loc[("multi_task", "equal"), "semseg"] == pytest.approx(0.575)
    assert names["delta_m"].to_list() == pytest.approx([(10 - 2) / 2, (20 - 4) / 2])
    assert "Interval(mean=6" in capsys.readouterr().out
    assert names["variants"].loc["multi_task", "depth.rmse.images"] == pytest.approx(2.06)
    assert (tmp_path / "cost.pdf").stat().st_size > 1000
