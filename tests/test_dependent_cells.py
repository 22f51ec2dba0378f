"""Cells that start from others, in real processes, with a real kill."""

import json
from pathlib import Path
from typing import Any

from grid_runs import GRID, GridRuns

CHAIN: dict[str, Any] = {
    "tasks": ["semseg", "depth", "normals"],
    "protocol": {
        "name": "task_addition",
        "base": ["semseg"],
        "add": ["depth", "normals"],
        "iterations": 10,
    },
}


def made(folder: Path, **changes: Any) -> GridRuns:
    folder.mkdir()
    grid = GridRuns(folder)
    grid.write(**CHAIN, **changes)
    return grid


def by_tasks(grid: GridRuns) -> dict[int, Any]:
    """Number of tasks -> scores: one cell each."""
    return {len(r["cell"]["tasks"]): r["scores"] for r in grid.results().values()}


def test_a_killed_stage_goes_on_by_itself_with_the_same_scores(tmp_path: Path) -> None:
    whole = made(tmp_path / "whole", method={"name": "troubled", "when": 15})
    done = whole.run()
    assert done.returncode == 0, done.stdout + done.stderr
    trouble = {
        "name": "troubled",
        "trouble": "kill",
        "when": 7,
        "flag": str(tmp_path / "flag"),
    }
    killed = made(tmp_path / "killed", method=trouble, execution=GRID["execution"] | {"retries": 1})
    done = killed.run()
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "flag").exists()
    assert "going on from the checkpoint of step" in "".join(
        f.read_text() for f in killed.runs.rglob("log.txt")
    )
    assert by_tasks(killed) == by_tasks(whole)
    assert sorted(by_tasks(whole)) == [1, 2, 3]
    for result in whole.results().values():
        assert bool(result["started_from"]) == (len(result["cell"]["tasks"]) > 1)
    logs = {
        len(json.loads((c / "job.json").read_text())["cell"]["tasks"]): (c / "log.txt").read_text()
        for c in whole.cells()
    }
    assert "weights are those of" not in logs[1]
    assert "weights are those of" in logs[2]


def test_a_failed_base_blocks_its_stages_until_it_is_run_again(tmp_path: Path) -> None:
    grid = made(
        tmp_path / "grid",
        method={"name": "troubled", "trouble": "raise", "flag": str(tmp_path / "mended")},
    )
    done = grid.run()
    assert done.returncode == 1, done.stdout + done.stderr
    assert "blocked" in done.stdout
    planned = grid.mtlbench("plan", "grid.yaml").stdout
    assert "1 failed, 2 blocked" in planned
    assert "ValueError: told to fail" in planned
    again = grid.mtlbench("rerun", "runs", "--failed")
    assert again.returncode == 0, again.stdout + again.stderr
    assert sorted(by_tasks(grid)) == [1, 2, 3]
    assert "3 done" in grid.mtlbench("plan", "grid.yaml").stdout


def test_a_base_that_ran_anew_makes_what_started_from_it_stale(tmp_path: Path) -> None:
    grid = made(tmp_path / "grid")
    assert grid.run().returncode == 0
    base = next(c for c in grid.cells() if "continued" not in c.name)
    result = json.loads((base / "result.json").read_text())
    del result["checksum"]
    result["scores"]["semseg"] = dict.fromkeys(result["scores"]["semseg"], 0.125)
    (base / "result.json").write_text(json.dumps(result))
    planned = grid.mtlbench("plan", "grid.yaml").stdout
    assert planned.count("changed since it ran: start") == 1, planned
