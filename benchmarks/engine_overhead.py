"""What a cell costs beyond its own work, and where that goes.

Runs cells of one training step each through the local executor, one at a time. A plugin file that every cell
loads first notes when that happens: the first line of a cell's main. Wall time and processor time, per cell,
medians; the first cell, which waits for the imports of the process that starts cells, is told apart.

Run: python benchmarks/engine_overhead.py [--cells 20] [--fresh]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import psutil

from mtlbench.driver import Driver
from mtlbench.executors.local import LocalExecutor
from mtlbench.folder import Job, RunFolder
from mtlbench.spec import Cell, Choice, Execution, Recipe
from mtlbench.store import Runs

TINY = Path(__file__).parents[1] / "tests" / "plugins" / "tiny.py"
NOTE = """
import json, os, sys, time
from pathlib import Path
first_line = {"at": time.time(), "processor": time.process_time()}
Path(sys.argv[-1]).with_name("first_line.json").write_text(json.dumps(first_line))
plugins = {}
"""
INTERVAL = 0.2
"""Seconds between two polls of `mtlbench run`, where nothing ends earlier."""


@dataclass
class Times:
    """Seconds of one cell.

    Attributes:
        before: from the hand-over to the executor to the first line of the cell's main.
        own: from there to its result.
        after: from there to the moment that the driver knows it, which is when the next one may start.
        processor: of `before`, in the cell's process.
    """

    before: float
    own: float
    after: float
    processor: float


def jobs(folder: Path, count: int) -> list[Job]:
    """Cells that differ in their seeds."""
    note = folder / "note.py"
    note.write_text(NOTE)
    cells = [
        Cell(
            dataset=Choice(name="tiny", options={"images": 1}),
            tasks=("depth",),
            backbone=Choice(name="tiny"),
            method=Choice(name="troubled"),
            balancer=Choice(name="equal"),
            recipe=Recipe(iterations=1, batch_size=1),
            seed=seed,
        )
        for seed in range(count)
    ]
    plugins = (str(note), str(TINY))
    execution = Execution(gallery=0)
    return [Job(cell=c, folder=folder / c.id, execution=execution, plugins=plugins) for c in cells]


def times(job: Job, started: float, ended: float) -> Times:
    """From what the cell has left; `started` and `ended` by the clock on the wall."""
    assert RunFolder(job.folder).result() is not None, RunFolder(job.folder).log_end()
    first = json.loads((job.folder / "first_line.json").read_text())
    done = (job.folder / "result.json").stat().st_mtime
    return Times(first["at"] - started, done - first["at"], ended - done, first["processor"])


def run_through_executor(todo: list[Job]) -> tuple[list[Times], float, float]:
    """Times of each cell; processor seconds of the driver and of the process that starts cells."""
    began, processor = {}, time.process_time()
    found = []
    with closing(LocalExecutor(jobs=1, gpus=[])) as executor:
        for job in todo:
            executor.submit(job)
        while not executor.idle():
            for event in executor.poll():
                now = time.time()
                if event.kind == "started":
                    began[event.cell] = now
                else:
                    job = next(job for job in todo if job.cell.id == event.cell)
                    found.append(times(job, began[event.cell], now))
            executor.wait(INTERVAL)
        driver = time.process_time() - processor
        (server,) = psutil.Process(os.getpid()).children()
        used = server.cpu_times()
    return found, driver, used.user + used.system


def gaps_through_driver(folder: Path, todo: list[Job]) -> list[float]:
    """Seconds from each cell's result to the first line of the next, as `mtlbench run` does it."""
    runs, execution = Runs(folder / "runs"), todo[0].execution
    with closing(LocalExecutor(jobs=1, gpus=[])) as executor:
        driver = Driver([job.cell for job in todo], executor, runs, execution, todo[0].plugins)
        driver.run(lambda progress: None, INTERVAL)
    places = [runs.folder(job.cell).path for job in todo]
    ends = sorted((place / "result.json").stat().st_mtime for place in places)
    starts = sorted(json.loads((place / "first_line.json").read_text())["at"] for place in places)
    return [start - end for end, start in zip(ends[:-1], starts[1:], strict=True)]


def run_fresh(todo: list[Job]) -> list[Times]:
    """The same in a new interpreter for each."""
    found = []
    for job in todo:
        RunFolder(job.folder).create(job)
        command = [sys.executable, "-m", "mtlbench", "run-cell", str(job.folder / "job.json")]
        started = time.time()
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
        found.append(times(job, started, time.time()))
    return found


def show(name: str, found: list[Times]) -> None:
    """Medians."""

    def median(part: Callable[[Times], float]) -> str:
        return f"{statistics.median(map(part, found)):.3f} s"

    print(f"{name}: {len(found)} cells")
    print(f"  hand-over to first line    {median(lambda t: t.before)}")
    print(f"    of that processor time   {median(lambda t: t.processor)}")
    print(f"  first line to result       {median(lambda t: t.own)}")
    print(f"  result to next hand-over   {median(lambda t: t.after)}")
    print(f"  beyond its own, together   {median(lambda t: t.before + t.after)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=20)
    parser.add_argument("--fresh", action="store_true", help="also without the process that starts cells")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as folder:
        found, driver, server = run_through_executor(jobs(Path(folder), options.cells))
    show("first, with the imports of the process that starts cells", found[:1])
    show("forked", found[1:])
    print(f"  driver, processor time     {driver / options.cells:.4f} s a cell")
    print(f"  starting process           {server:.2f} s processor time in all, its imports included")
    with tempfile.TemporaryDirectory() as name:
        gaps = gaps_through_driver(Path(name), jobs(Path(name), options.cells))
    print(f"through the driver: result to the next cell's first line {statistics.median(gaps):.3f} s")
    if options.fresh:
        with tempfile.TemporaryDirectory() as folder:
            show("a new interpreter each", run_fresh(jobs(Path(folder), min(5, options.cells))))


if __name__ == "__main__":
    main()
