"""Networks that are put together of trained ones, in real processes, with a real kill."""

from pathlib import Path
from typing import Any

import pytest
from conftest import TINY_PLUGINS
from grid_runs import GRID, GridRuns

KILLED = "going on from the checkpoint of step"
GIVEN: dict[str, Any] = {
    "plugins": [str(TINY_PLUGINS), str(TINY_PLUGINS.with_name("joined.py"))],
    "backbone": "staged",
    "tasks": ["semseg", "depth"],
    "baseline": "single_task",
}


@pytest.mark.slow
def test_trained_networks_are_shared_and_a_killed_cell_goes_on_with_the_same_scores(tmp_path: Path) -> None:
    killed = {"name": "stitched", "kill_at": 7, "flag": str(tmp_path / "flag")}
    grid = GridRuns(tmp_path)
    grid.write(**GIVEN, method=["stitched", killed], execution=GRID["execution"] | {"retries": 1})
    done = grid.run()
    assert done.returncode == 0, done.stdout + done.stderr
    results = grid.results()
    single = {r["cell"]["tasks"][0]: name for name, r in results.items() if len(r["cell"]["tasks"]) == 1}
    stitched = {name: r for name, r in results.items() if len(r["cell"]["tasks"]) == 2}
    assert (len(results), len(single), len(stitched)) == (4, 2, 2)
    whole, again = stitched.values()
    assert whole["scores"] == again["scores"]
    for name, result in stitched.items():
        log = (grid.runs / "cells" / name / "log.txt").read_text()
        assert (KILLED in log) == (result["cell"]["method"]["options"].get("kill_at") == 7)
        assert result["started_from"]["joined"] == single
        assert all(new.startswith("cross_stitch.") for new in result["started_from"]["new"])
    planned = grid.mtlbench("plan", "grid.yaml")
    assert "4 done" in planned.stdout, planned.stdout + planned.stderr
