"""Cells on a real Ray cluster, which loses a worker, its driver and a node."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from grid_runs import GridRuns

pytestmark = pytest.mark.slow

STEPS = 120
TESTS = Path(__file__).parents[1]


def _why_not() -> str:
    """Why the cluster can't be made here; empty where it can."""
    if importlib.util.find_spec("ray") is None:
        return "Ray is not installed"
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        return "no `unshare` and `ip`, to keep Ray from the network"
    tried = subprocess.run(
        ["unshare", "-n", "ip", "link", "set", "lo", "up"], capture_output=True, check=False
    )
    return "a network of its own is not permitted" if tried.returncode else ""


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> GridRuns:
    grid = GridRuns(tmp_path_factory.mktemp("ray"))
    grid.write(
        method={"name": "troubled", "trouble": "slow"},
        balancer=["equal", "uncertainty", "pcgrad"],
        tasks=["semseg", "depth"],
        recipe={"iterations": STEPS, "batch_size": 4},
        execution={"checkpoint_seconds": 0.01, "log_every": 1, "gallery": 0, "threads": 1},
    )
    return grid


@pytest.fixture(scope="module")
def seen(grid: GridRuns) -> dict[str, Any]:
    """What `ray_cluster_script.py` saw."""
    if why := _why_not():
        pytest.skip(why)
    script = [sys.executable, str(TESTS / "ray_cluster_script.py"), str(grid.folder)]
    done = subprocess.run(
        ["unshare", "-n", "sh", "-c", 'ip link set lo up && exec "$@"', "sh", *script],
        env=os.environ | {"RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": str(TESTS), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=480,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    found: dict[str, Any] = json.loads((grid.folder / "seen.json").read_text())
    return found


def test_what_no_node_can_hold_is_refused_with_what_there_is(seen: dict[str, Any]) -> None:
    devices, threads, memory = seen["refusals"]
    assert devices.startswith("no node of the Ray cluster has 2 GPUs, 2 CPUs,")
    assert devices.count(": 1 GPUs, 2 CPUs and") == 2
    assert "64 CPUs" in threads
    assert "1000000.0 GB of memory" in memory


def test_every_running_cell_has_a_gpu_of_its_own(seen: dict[str, Any]) -> None:
    places = [tuple(place) for place in seen["cancel"]["places"]]
    assert len(places) == len(set(places)) == 2
    assert {gpu for _, gpu in places} == {"0"}
    assert seen["cancel"]["room"] == 2 * 2 - 3


def test_the_cell_of_a_lost_worker_stops_by_itself(seen: dict[str, Any]) -> None:
    assert seen["cancel"]["finished"] == ["lost"]
    assert seen["cancel"]["stopped_when_worker_lost"] == 1


def test_cancelled_cells_leave_checkpoints_and_nothing_else(seen: dict[str, Any]) -> None:
    assert seen["cancel"]["idle"]
    assert seen["cancel"]["left"] == 0
    assert seen["cancel"]["stopped"] >= 1 + 1


def test_cells_of_a_killed_driver_stop_in_good_order(seen: dict[str, Any]) -> None:
    assert not seen["driver"]["failures"]
    assert seen["driver"]["stopped"] == seen["driver"]["running"] == 2


def test_a_lost_node_costs_nothing(seen: dict[str, Any], grid: GridRuns, tmp_path: Path) -> None:
    assert seen["node"]["code"] == 0, seen["node"]["output"]
    assert "raylet" not in seen["node"]["output"]
    assert seen["node"]["left"] == 0
    assert not grid.failures()
    for cell in grid.cells():
        steps = [json.loads(line)["step"] for line in (cell / "history.jsonl").read_text().splitlines()]
        assert steps == list(range(1, STEPS + 1)), "each step once, in order"
        assert "going on from the checkpoint of step" in (cell / "log.txt").read_text()
    undisturbed = GridRuns(tmp_path)
    shutil.copy(grid.folder / "grid.yaml", tmp_path)
    done = undisturbed.run()
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(grid.scores()) == 3
    assert grid.scores() == undisturbed.scores()


def test_nothing_of_ray_is_left(seen: dict[str, Any]) -> None:
    assert seen["left"] == []
