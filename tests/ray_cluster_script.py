"""Runs cells on a Ray cluster of two nodes and does harm to it; leaves what was seen as JSON.

    python ray_cluster_script.py FOLDER

FOLDER holds a grid file. It runs in a network of its own (`unshare -n`): Ray listens on 127.0.0.1 only.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import psutil
from grid_runs import GridRuns
from ray.cluster_utils import Cluster

from mtlbench.config import load_grid
from mtlbench.errors import MtlbenchError
from mtlbench.executors.base import Event
from mtlbench.executors.ray_cluster import RayExecutor
from mtlbench.folder import Job
from mtlbench.plan import expand
from mtlbench.registry import registry
from mtlbench.store import Runs

PATIENCE = 180.0
STORE = 80 * 2**20


def wait_until(what: str, holds: Callable[[], Any]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, f"waited too long until {what}"
        time.sleep(0.05)


def still_runs(driver: "subprocess.Popen[str]") -> bool:
    assert driver.poll() is None, driver.stdout.read() if driver.stdout else ""
    return True


class Scene:
    """A cluster of two nodes with a declared GPU each, and a grid."""

    def __init__(self, folder: Path) -> None:
        self.grid = GridRuns(folder)
        head = {"num_cpus": 2, "num_gpus": 1, "object_store_memory": STORE, "include_dashboard": False}
        self.cluster = Cluster(initialize_head=True, head_node_args=head)
        self.second = self.cluster.add_node(num_cpus=2, num_gpus=1, object_store_memory=STORE)
        self.address = self.cluster.address

    def jobs(self, **execution: Any) -> list[Job]:
        grid = load_grid(self.grid.folder / "grid.yaml", registry)
        chosen = grid.execution.model_copy(update=execution)
        runs = Runs(self.grid.runs)
        return [
            Job(cell=cell, folder=runs.folder(cell).path, execution=chosen, plugins=grid.plugins)
            for cell in expand(grid, registry).cells
        ]

    def cells(self) -> list[psutil.Process]:
        """The processes of cells: forks that write a log."""
        found = []
        for process in psutil.process_iter(["cmdline"]):
            with suppress(psutil.NoSuchProcess):
                forked = "mtlbench.executors.forked" in (process.info["cmdline"] or [])
                if forked and any(f.path.startswith(str(self.grid.runs)) for f in process.open_files()):
                    found.append(process)
        return found

    def nodes(self) -> set[str]:
        """On which cells run."""
        found = set()
        for process in self.cells():
            with suppress(psutil.NoSuchProcess):
                found.add(process.environ()["RAY_RAYLET_PID"])
        return found

    def start(self) -> "subprocess.Popen[str]":
        command = self.grid.command("run", "grid.yaml", "--executor", "ray", "--address", self.address)
        return subprocess.Popen(
            command, cwd=self.grid.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def steps(self) -> dict[str, int]:
        """Of every cell, the last one that it noted."""
        files = (self.grid.runs / "cells").glob("*/history.jsonl")
        return {file.parent.name: file.read_text().count("\n") for file in files}

    def wait_for_progress(self, cells: int, driver: "subprocess.Popen[str] | None" = None) -> None:
        """Until so many cells have gone further than they were; the driver must not have ended."""
        before = self.steps()

        def moved() -> bool:
            assert driver is None or still_runs(driver)
            return sum(count > before.get(cell, 0) + 1 for cell, count in self.steps().items()) >= cells

        wait_until(f"{cells} cells have made steps", moved)

    def stopped(self) -> int:
        """How often cells have stopped with a checkpoint, so far."""
        logs = (self.grid.runs / "cells").glob("*/log.txt")
        return sum(log.read_text().count("stopped; the same command goes on from here") for log in logs)


def refusals(scene: Scene, executor: RayExecutor) -> list[str]:
    """What is said to jobs for which no node is large enough."""
    messages = []
    for execution in ({"devices": 2}, {"threads": 64}, {"memory_gb": 1e6}):
        try:
            executor.submit(scene.jobs(**execution)[0])
        except MtlbenchError as error:
            messages.append(str(error))
    return messages


def lose_a_worker_and_cancel(scene: Scene, executor: RayExecutor) -> dict[str, Any]:
    """Two cells run, one waits; the worker of one is killed; the rest is cancelled."""
    jobs = scene.jobs()
    events: list[Event] = []

    def hear() -> list[Event]:
        events.extend(executor.poll())
        return events

    for job in jobs:
        executor.submit(job)
    room = executor.room()
    wait_until("two cells have started", lambda: sum(e.kind == "started" for e in hear()) >= 2)
    scene.wait_for_progress(2)
    running = scene.cells()
    places = [[p.environ()["RAY_RAYLET_PID"], p.environ()["CUDA_VISIBLE_DEVICES"]] for p in running]
    worker = running[0].parents()[1]
    worker.kill()
    wait_until("the cell of the lost worker has ended", lambda: not running[0].is_running())
    wait_until("it is reported", lambda: any(e.kind == "finished" for e in hear()))
    before_cancel = scene.stopped()
    executor.submit(jobs[0])  # one that is cancelled while it starts
    executor.cancel()
    finished = [e for e in events if e.kind == "finished"]
    return {
        "room": room,
        "places": places,
        "finished": [e.failure.kind if e.failure else None for e in finished],
        "stopped_when_worker_lost": before_cancel,
        "idle": executor.idle(),
        "left": len(scene.cells()),
        "stopped": scene.stopped(),
    }


def kill_the_driver(scene: Scene) -> dict[str, Any]:
    driver, before = scene.start(), scene.stopped()
    scene.wait_for_progress(2, driver)
    running = len(scene.cells())
    driver.kill()
    driver.communicate()
    wait_until("its cells have ended", lambda: not scene.cells())
    return {"running": running, "stopped": scene.stopped() - before, "failures": scene.grid.failures()}


def lose_a_node(scene: Scene) -> dict[str, Any]:
    """In the middle; the other one has to do it all."""
    driver = scene.start()
    wait_until("cells run on both nodes", lambda: still_runs(driver) and len(scene.nodes()) == 2)
    scene.wait_for_progress(2, driver)
    scene.cluster.remove_node(scene.second, allow_graceful=False)
    output, _ = driver.communicate(timeout=PATIENCE)
    return {"code": driver.returncode, "output": output, "left": len(scene.cells())}


def main(folder: Path) -> None:
    scene = Scene(folder)
    seen: dict[str, Any] = {}
    try:
        with closing(RayExecutor(address=scene.address)) as executor:
            seen["refusals"] = refusals(scene, executor)
            seen["cancel"] = lose_a_worker_and_cancel(scene, executor)
        seen["driver"] = kill_the_driver(scene)
        seen["node"] = lose_a_node(scene)
    finally:
        for process in scene.cells():
            process.send_signal(signal.SIGKILL)
        scene.cluster.shutdown()
    children = psutil.Process().children(recursive=True)
    _, left = psutil.wait_procs(children, timeout=30)
    seen["left"] = [process.name() for process in left]
    (folder / "seen.json").write_text(json.dumps(seen))


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    main(Path(sys.argv[1]))
