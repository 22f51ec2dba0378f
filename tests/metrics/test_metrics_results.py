"""Scores that are NaN, and baselines of 0, on their way from results to reports."""

import json
import math
from pathlib import Path

import pytest
from grid_runs import GridRuns

import mtlbench
from mtlbench.collect import collect
from mtlbench.store import Runs
from mtlbench.table import tabulate

RMSE = "depth.rmse.pixels"


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> GridRuns:
    grid = GridRuns(tmp_path_factory.mktemp("grid"))
    recipe = {"iterations": 1, "batch_size": 4}
    grid.write(tasks=["semseg", "depth"], baseline="single_task", recipe=recipe)
    finished = grid.run()
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return grid


def with_depth(grid: GridRuns, folder: Path, *, tasks: int, rmse: float) -> Runs:
    """The runs again, with another score in the cells of so many tasks."""
    for cell, result in grid.results().items():
        del result["checksum"]
        if len(result["scores"]) == tasks and "depth" in result["scores"]:
            result["scores"]["depth"][RMSE] = rmse
        place = folder / "cells" / cell
        place.mkdir(parents=True)
        (place / "result.json").write_text(json.dumps(result))  # writes NaN
        (place / "job.json").write_text((grid.runs / "cells" / cell / "job.json").read_text())
    (folder / "grids").mkdir()
    (folder / "grids" / "tiny.json").write_text((grid.runs / "grids" / "tiny.json").read_text())
    runs = Runs(folder)
    assert runs.reindex() == len(grid.results())
    return runs


def test_nan_stays_nan_and_is_a_dash_in_tables(done: GridRuns, tmp_path: Path) -> None:
    runs = with_depth(done, tmp_path, tasks=2, rmse=math.nan)
    frame = mtlbench.load(runs.root)
    found = frame[(frame.metric == RMSE) & (frame.method == "troubled")]["value"].tolist()
    assert any(math.isnan(value) for value in found)
    assert 0 not in found
    results = collect(runs, "tiny")
    table = tabulate(results)
    (line,) = [line for line in table.lines if line.role == "candidate"]
    assert line.entries[table.index("depth")].value == "—"
    assert line.entries[table.index("delta_m")].value == "—"


def test_a_baseline_of_zero_has_no_delta_m(done: GridRuns, tmp_path: Path) -> None:
    results = collect(with_depth(done, tmp_path, tasks=1, rmse=0.0), "tiny")
    assert results.delta_m.empty
    assert (results.scores["value"] == 0).any()
