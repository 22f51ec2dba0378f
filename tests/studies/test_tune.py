"""`mtlbench tune` in real processes: to the end, killed and gone on with, by two workers at once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from io import StringIO
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from grid_runs import TIMEOUT, GridRuns
from rich.console import Console

from mtlbench.commands import EXIT_INTERRUPTED, stopped
from mtlbench.config import load_grid
from mtlbench.registry import Registry
from mtlbench.studies.records import StudyRecord, read_studies

TUNED: dict[str, Any] = {
    "name": "tiny",
    "method": {"name": "troubled", "trouble": "slow"},
    "balancer": "equal",
    "tasks": ["semseg", "depth"],
    "baseline": "single_task",
    "seed": 0,
    "recipe": {"iterations": 20, "batch_size": 4},
}


@pytest.fixture
def grid(tmp_path: Path) -> GridRuns:
    return GridRuns(tmp_path)


def start(grid: GridRuns, *arguments: str) -> subprocess.Popen[str]:
    """One worker, in the background."""
    return grid.start(*arguments, command="tune", jobs=1)


def the_study(grid: GridRuns) -> StudyRecord:
    (study,) = read_studies(grid.runs, "tiny")
    return study


def wait_for_trials(grid: GridRuns, count: int, worker: subprocess.Popen[str]) -> None:
    """Until so many are done."""
    deadline = time.monotonic() + TIMEOUT
    while sum(t.state == "complete" for s in read_studies(grid.runs, "tiny") for t in s.trials) < count:
        assert worker.poll() is None, worker.stdout.read() if worker.stdout else ""
        assert time.monotonic() < deadline
        time.sleep(0.05)


def each_step_once(cell: Path) -> bool:
    lines = (cell / "history.jsonl").read_text().splitlines()
    return [json.loads(line)["step"] for line in lines] == list(range(1, len(lines) + 1))


def test_the_command_that_goes_on_forgets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["mtlbench", "tune", "my grid.yaml", "--fresh", "--runs", "here"])
    shown = StringIO()
    assert stopped(Console(file=shown), "mtlbench tune grid.yaml") == EXIT_INTERRUPTED
    assert shown.getvalue().endswith(": mtlbench tune 'my grid.yaml' --runs here\n")


@pytest.mark.slow
def test_a_killed_study_goes_on_in_two_workers_and_is_compared_with_the_defaults(grid: GridRuns) -> None:
    grid.write(**TUNED, tune={"trials": 5}, report={"columns": ["balancer", "depth"]})
    killed = start(grid)
    wait_for_trials(grid, 1, killed)
    cells = psutil.Process(killed.pid).children(recursive=True)
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate(timeout=TIMEOUT)
    _, alive = psutil.wait_procs(cells, timeout=60)
    assert not alive
    finished = {file: file.stat().st_mtime_ns for file in (grid.runs / "cells").glob("*/result.json")}

    workers = [start(grid), start(grid)]
    outputs = [worker.communicate(timeout=TIMEOUT)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], outputs
    study = the_study(grid)
    assert [trial.state for trial in study.trials] == ["complete"] * 5
    assert study.trials[0].parameters == {"balancer.weights.semseg": 1.0, "balancer.weights.depth": 1.0}
    trials = {cell for trial in study.trials for cell in trial.cells}
    held_out = [r for r in grid.results().values() if r["cell"].get("holdout")]
    assert len(held_out) == len(trials) + 2, "and the baseline's two"
    assert all(each_step_once(cell) for cell in grid.cells())
    assert all(file.stat().st_mtime_ns == moment for file, moment in finished.items())

    assert study.comparison == "tiny-tuned"
    compared = [r for r in grid.results().values() if not r["cell"].get("holdout")]
    tuned = study.best[0] != 0
    assert len(compared) == 2 + 1 + tuned
    assert {result["cell"]["seed"] for result in compared} == {0}
    report = grid.runs / "reports" / "tiny-tuned"
    assert (report / "report.html").exists()
    assert "| Δm" not in (report / "report.md").read_text(), "the columns are those that the grid asks for"
    assert all("Best setting:" in output and "optuna-dashboard" in output for output in outputs)

    best = grid.runs / "studies" / study.name / "best.yaml"
    assert f"trial {study.best[0]}" in best.read_text()
    content = yaml.safe_load((grid.folder / "grid.yaml").read_text())
    content = {k: v for k, v in content.items() if k not in ("balancer", "tune")} | {"include": str(best)}
    (grid.folder / "best-grid.yaml").write_text(yaml.safe_dump(content))
    (included,) = load_grid(grid.folder / "best-grid.yaml", Registry()).balancers
    cells = [r["cell"] for name, r in grid.results().items() if name in study.trials[study.best[0]].cells]
    assert [cell["balancer"] for cell in cells] == [included.choice.model_dump(mode="json")]
    done = {file: file.stat().st_mtime_ns for file in (grid.runs / "cells").glob("*/result.json")}
    again = grid.mtlbench("tune", "grid.yaml", "--jobs", "1")
    assert again.returncode == 0, again.stdout + again.stderr
    assert done == {file: file.stat().st_mtime_ns for file in (grid.runs / "cells").glob("*/result.json")}
    assert the_study(grid) == study
    assert not [line for line in again.stderr.splitlines() if "optuna" in line.lower()]


@pytest.mark.slow
def test_a_pareto_front_of_all_tasks(grid: GridRuns) -> None:
    grid.write(**{**TUNED, "method": "troubled", "baseline": None}, tune={"objective": "tasks"})
    done = grid.mtlbench("tune", "grid.yaml", "--jobs", "1", "--trials", "4")
    assert done.returncode == 0, done.stdout + done.stderr
    study = the_study(grid)
    assert study.objective == ["semseg", "depth"]
    assert study.directions == ["maximize", "minimize"]
    assert study.best
    assert all(len(trial.values or ()) == 2 for trial in study.trials)
    front = yaml.safe_load((grid.runs / "studies" / study.name / "front.yaml").read_text())["front"]
    assert [entry["trial"] for entry in front] == study.best
    assert all(set(entry["grid"]["balancer"]) >= {"name"} for entry in front)
    assert "with one seed: whether tuning helps can't be said" in done.stdout or "no trial was" in done.stdout


@pytest.mark.slow
def test_pruned_cells_end_in_training(grid: GridRuns) -> None:
    tune = {"pruner": "median", "sampler": "random", "evaluate_every": 4, "trials": 8}
    recipe = {"iterations": 40, "batch_size": 4}
    grid.write(**{**TUNED, "recipe": recipe}, tune=tune)
    done = grid.mtlbench("tune", "grid.yaml", "--jobs", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    study = the_study(grid)
    pruned = [trial for trial in study.trials if trial.state == "pruned"]
    assert pruned
    assert {trial.state for trial in study.trials} == {"pruned", "complete"}
    for trial in pruned:
        assert not (grid.runs / "cells" / trial.cells[0] / "result.json").exists()
        assert grid.failures()[trial.cells[0]]["kind"] == "pruned"
