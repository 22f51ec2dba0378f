"""Grids from the command line, in real processes, with real kills."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import psutil
import pytest
from conftest import TINY_PLUGINS
from grid_runs import TIMEOUT, GridRuns

import mtlbench


@pytest.fixture
def grid(tmp_path: Path) -> GridRuns:
    return GridRuns(tmp_path)


def undisturbed(tmp_path: Path, **changes: Any) -> list[dict[str, Any]]:
    """Scores of the same grid, run in one go."""
    folder = tmp_path / "undisturbed"
    folder.mkdir()
    grid = GridRuns(folder)
    grid.write(**changes)
    done = grid.run()
    assert done.returncode == 0, done.stdout + done.stderr
    return grid.scores()


def test_run_report_and_run_again(grid: GridRuns) -> None:
    grid.write(
        balancer=["equal", "pcgrad"], baseline="single_task", reference="constant", tasks=["semseg", "depth"]
    )
    first = grid.run()
    assert first.returncode == 0, first.stdout + first.stderr
    assert len(grid.results()) == 2 + 1 + 2
    for expected in (
        "single_task",
        "constant",
        "pcgrad",
        "rmse",
        "report.html",
        "report.md",
        "table.tex",
        "scores.csv",
    ):
        assert expected in first.stdout, expected
    written = {path: path.stat().st_mtime_ns for path in (grid.runs / "cells").rglob("result.json")}
    second = grid.run()
    assert second.returncode == 0
    assert "5 done" in second.stdout
    assert written == {path: path.stat().st_mtime_ns for path in (grid.runs / "cells").rglob("result.json")}

    frame = mtlbench.load(grid.runs)
    assert set(frame["task"]) == {"semseg", "depth"}
    assert len(frame[frame["primary"]]) == 2 + 2 * 3
    (grid.runs / "index.db").unlink()
    assert "5 cells indexed" in grid.mtlbench("reindex", "runs").stdout
    assert mtlbench.load(grid.runs).equals(frame)
    assert "5 done" in grid.mtlbench("status", "runs").stdout

    result = next(iter(grid.results().values()))
    assert result["provenance"]["packages"]["torch"]
    assert result["costs"]["macs"] >= 0
    assert result["fingerprints"]["data"] == "tiny"
    pictures = list((grid.runs / "cells").rglob("*.png"))
    assert len({p.parent.name for p in pictures}) == 2


def test_failures_are_typed_and_the_rest_goes_on(grid: GridRuns, tmp_path: Path) -> None:
    kinds = ("raise", "nan", "kill", "memory")
    troubles = [{"name": "troubled", "trouble": t, "flag": str(tmp_path / f"mended-{t}")} for t in kinds]
    grid.write(method=["troubled", *troubles], tasks=["depth"])
    done = grid.run()
    assert done.returncode == 1, done.stdout + done.stderr
    found = sorted(failure["kind"] for failure in grid.failures().values())
    assert found == ["diverged", "error", "killed", "out_of_memory"]
    assert "ValueError: told to fail" in done.stdout
    assert "the loss of depth became nan in step 3" in done.stdout
    assert "mtlbench rerun runs --failed" in done.stdout
    before = {cell: result["provenance"]["finished"] for cell, result in grid.results().items()}

    again = grid.mtlbench("rerun", "runs", "--failed", "--jobs", "2")
    assert again.returncode == 0, again.stdout + again.stderr
    assert "4 cells to run again" in again.stdout
    assert not grid.failures()
    results = grid.results()
    assert all(results[cell]["provenance"]["finished"] == finished for cell, finished in before.items())


def test_a_killed_cell_goes_on_where_it_stopped(grid: GridRuns, tmp_path: Path) -> None:
    expected = undisturbed(
        tmp_path, method={"name": "troubled", "when": 7}, balancer=["uncertainty", "pcgrad"]
    )
    trouble = {"name": "troubled", "trouble": "kill", "when": 7, "flag": str(tmp_path / "flag")}
    grid.write(method=trouble, balancer=["uncertainty", "pcgrad"])
    first = grid.run()
    assert first.returncode == 1
    assert {failure["kind"] for failure in grid.failures().values()} == {"killed"}
    second = grid.run()
    assert second.returncode == 0, second.stdout + second.stderr
    assert "going on from the checkpoint of step" in "".join(
        f.read_text() for f in grid.runs.rglob("log.txt")
    )
    assert grid.scores() == expected
    for cell in grid.cells():
        steps = [json.loads(line)["step"] for line in (cell / "history.jsonl").read_text().splitlines()]
        assert steps == list(range(1, 13)), "each step once, in order"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["ctrl-c", "kill-9"])
def test_a_stopped_driver_takes_its_cells_along_and_goes_on(
    grid: GridRuns, tmp_path: Path, number: int
) -> None:
    slow = {
        "method": {"name": "troubled", "trouble": "slow"},
        "balancer": ["equal", "dwa"],
        "recipe": {"iterations": 60, "batch_size": 4},
    }
    expected = undisturbed(tmp_path, **slow)
    grid.write(**slow)
    process = grid.start()
    grid.wait_for_steps(5, process)
    cells = psutil.Process(process.pid).children(recursive=True)
    assert cells
    os.kill(process.pid, number)
    output, _ = process.communicate(timeout=TIMEOUT)
    _, alive = psutil.wait_procs(cells, timeout=60)
    assert not alive, "a cell outlived its driver"
    assert not grid.results(), "nothing was done yet"
    if number == signal.SIGINT:
        assert process.returncode == 130
        assert "go on with the same command: mtlbench run grid.yaml --jobs 2" in output
    again = grid.run()
    assert again.returncode == 0, again.stdout + again.stderr
    assert grid.scores() == expected


@pytest.mark.parametrize(
    ("changes", "arguments", "message"),
    [
        ({"method": "degmx"}, (), "unknown method `degmx`: did you mean `degmix`"),
        ({"tasks": ["semsg"]}, (), "unknown task of data set `tiny` `semsg`: did you mean `semseg`?"),
        ({}, ("--set", "recipe.iteratons=3"), "unknown key `iteratons`: did you mean `iterations`?"),
        ({"dataset": {"name": "tiny", "root": "nowhere"}}, (), "no folder nowhere"),
        (
            {"recipe": {"batch_size": 64}},
            (),
            "`recipe.batch_size` must be at most the number of training images",
        ),
        (
            {"recipe": {"batch_size": 4, "augment": "nois"}},
            (),
            "unknown transform `nois`: did you mean `noise`?",
        ),
        (
            {"balancer": {"name": "dwa", "temperature": -1}},
            (),
            "`temperature` of balancer `dwa` must be > 0, got -1",
        ),
        ({}, ("--jobs", "0"), "--jobs must be >= 1, got 0"),
    ],
)
def test_wrong_input_stops_before_anything_starts(
    grid: GridRuns, changes: dict[str, Any], arguments: tuple[str, ...], message: str
) -> None:
    grid.write(**changes)
    done = grid.mtlbench("run", "grid.yaml", *arguments)
    assert done.returncode == 2, done.stdout
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (grid.runs / "cells").exists()


def test_changed_code_makes_results_stale(grid: GridRuns, tmp_path: Path) -> None:
    plugin = tmp_path / "mine.py"
    plugin.write_text(_BALANCER)
    grid.write(balancer="mine", tasks=["depth"], plugins=[str(TINY_PLUGINS), "mine.py"])
    assert grid.run().returncode == 0
    plugin.write_text(_BALANCER.replace("losses.sum()", "losses.mean()"))
    planned = grid.mtlbench("plan", "grid.yaml")
    assert "stale" in planned.stdout
    assert "changed since it ran: balancer" in planned.stdout
    old = grid.results()
    assert grid.run().returncode == 0
    assert grid.results() == old, "stale results are kept until they are run again on purpose"
    again = grid.mtlbench("rerun", "runs", "--stale")
    assert again.returncode == 0, again.stdout + again.stderr
    assert "1 cells to run again" in again.stdout
    assert grid.results() != old
    assert len(list((grid.runs / "superseded").glob("*/result.json"))) == 1
    assert "stale" not in grid.mtlbench("plan", "grid.yaml").stdout


_BALANCER = '''
from mtlbench.balancing import Scalarization

class Mine(Scalarization):
    """Mine."""

    def total(self, losses, step):
        return losses.sum()

plugins = {"balancer": {"mine": Mine}}
'''


def test_partly_labelled_data_trains_and_evaluates(grid: GridRuns) -> None:
    dataset = {"name": "tiny", "unlabelled": "depth"}
    grid.write(dataset=dataset, balancer=["equal", "pcgrad"], recipe={"iterations": 10, "batch_size": 1})
    done = grid.run()
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [
        json.loads(line) for f in grid.runs.rglob("history.jsonl") for line in f.read_text().splitlines()
    ]
    assert {"depth" in line["losses"] for line in lines} == {True, False}


def test_bf16_with_micro_batches_and_clipping(grid: GridRuns) -> None:
    recipe = {
        "iterations": 6,
        "batch_size": 4,
        "accumulate": 2,
        "precision": "bf16",
        "clip": 1.0,
        "optimizer": "adamw",
    }
    grid.write(balancer=["uncertainty", "pcgrad"], recipe=recipe)
    done = grid.run()
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(grid.results()) == 2
