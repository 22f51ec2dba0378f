"""How long the report of a large store takes, part by part, in seconds of one core.

python benchmarks/reports_scale.py [--rows 1000] [--seeds 10] [--lines 10] [--new]

A store of made-up results is written to a temporary folder: `rows` settings (on four backbones, each with
a baseline) under `seeds` seeds, ten scores a cell, and histories of some lines. Then each part of
`mtlbench report` is timed by the processor time of this process.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import resource
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib import import_module
from multiprocessing import Process
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
METRICS = {
    "semseg": (("miou.dataset.absent0", "pixacc", "miou.image"), True),
    "depth": (("depth.rmse.pixels", "depth.absrel", "depth.rmse.images"), False),
    "normals": (("normals.mean.pixels.atan2", "normals.median"), False),
    "edge": (("edge.seism.nyud.odsF", "edge.loss"), True),
}
BACKBONES = ("resnet18", "hrnet18", "swin-t", "swin-b")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("rows", 1000), ("seeds", 10), ("lines", 10)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--new", action="store_true", help="without an index, which is built first")
    given = parser.parse_args()
    logging.getLogger("mtlbench").setLevel(logging.WARNING)
    with tempfile.TemporaryDirectory() as place:
        root = Path(place) / "runs"
        maker = Process(target=make_store, args=(root, given.rows, given.seeds, given.lines))
        maker.start()  # another process: its time, memory and imports don't count
        maker.join()
        if not given.new:  # drivers index what they run: it is only built anew where it was lost
            indexer = Process(target=index, args=(root,))
            indexer.start()
            indexer.join()
        time_report(root)


def make_store(root: Path, rows: int, seeds: int, lines: int) -> None:
    """Run folders with results, and the grid that they are of; nothing is indexed."""
    from mtlbench.files import seal
    from mtlbench.folder import Costs, Job, Result, TaskRecord
    from mtlbench.plan import Row
    from mtlbench.spec import Cell, Choice, Recipe
    from mtlbench.store import Runs

    rng, records = random.Random(0), []
    tasks = {
        task: TaskRecord(metric=names[0], heading=names[0].split(".")[0], higher_is_better=up, scale=1)
        for task, (names, up) in METRICS.items()
    }
    for number in range(rows):
        backbone = BACKBONES[number % len(BACKBONES)]
        baseline = number < len(BACKBONES)
        method = "single_task" if baseline else "multi_task"
        cells = {
            seed: Cell(
                dataset=Choice(name="rooms"),
                tasks=tuple(METRICS),
                backbone=Choice(name=backbone),
                method=Choice(name=method),
                balancer=Choice(name="fixed", options={"weights": {"semseg": number + 1.0}}),
                recipe=Recipe(iterations=100),
                seed=seed,
            )
            for seed in range(seeds)
        }
        for cell in cells.values():
            folder = root / "cells" / cell.id
            (folder / "checkpoint").mkdir(parents=True)
            level = 0.5 + 0.2 * rng.random()
            scores = {t: {m: level + 0.02 * rng.random() for m in names} for t, (names, _) in METRICS.items()}
            costs = Costs(
                parameters=10**7 + number,
                trainable=10**7,
                macs=10**10 + 10**6 * number,
                module_macs=10**10,
                input_size=(64, 96),
                train_seconds=60 * rng.random(),
                images_per_second=10,
                evaluate_seconds=1,
                peak_memory_mb=1000,
            )
            result = Result(
                cell=cell,
                tasks=tasks,
                scores=scores,
                images={"train": 100, "val": 50},
                costs=costs,
                fingerprints={"method": "0" * 16, "data": "1" * 16},
                provenance={"cpu": "made up", "packages": {f"package{i}": "1.2.3" for i in range(20)}},
            )
            (folder / "result.json").write_text(seal(result.model_dump_json(indent=1)))
            (folder / "job.json").write_text(Job(cell=cell, folder=folder).model_dump_json())
            history = [
                {
                    "step": 1 + 10 * i,
                    "lr": 0.01,
                    "losses": {task: 2 / (1 + i) + rng.random() for task in METRICS},
                    "weights": dict.fromkeys(METRICS, 1.0),
                    "norms": {},
                    "cosines": [],
                }
                for i in range(lines)
            ]
            (folder / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in history))
            (folder / "log.txt").write_text("made up\n" * 20)
        labels = {
            "dataset": "rooms",
            "backbone": backbone,
            "method": method if baseline else f"method {number // len(BACKBONES)}",
            "balancer": "",
            "tuning": "full",
            "recipe": "default",
            "protocol": "",
        }
        row = Row(
            "baseline" if baseline else "candidate",
            labels,
            tuple(METRICS),
            (tuple(METRICS),),
            {seed: [cell] for seed, cell in cells.items()},
        )
        records.append(row.record())
    Runs(root).save_grid("large", records)


def index(root: Path) -> None:
    from mtlbench.store import Runs

    Runs(root).refresh()


def time_report(root: Path) -> None:
    """Print what each part takes."""

    def timed(name: str, work: Callable[[], T]) -> T:
        before = time.process_time()
        found = work()
        print(f"{time.process_time() - before:7.2f} s  {name}", flush=True)
        return found

    timed("imports of the command", partial(import_module, "mtlbench.report_command"))
    from mtlbench.collect import collect
    from mtlbench.registry import registry
    from mtlbench.store import Runs
    from mtlbench.table import tabulate

    plugins = registry.plugins("report")
    reports = timed("imports of reports", lambda: {plugin.name: plugin.load() for plugin in plugins})
    runs = Runs(root)
    timed("index brought up to date", runs.refresh)
    results = timed("collected", lambda: collect(runs, "large"))
    timed("tabulated", lambda: tabulate(results))
    folder = runs.reports("large")
    folder.mkdir(parents=True)
    for name, write in reports.items():
        written = timed(f"report {name}", partial(write, results, folder))
        for file in written:
            if file.suffix in (".html", ".csv", ".tex", ".md"):
                print(f"{file.stat().st_size / 2**20:18.1f} MB {file.name}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{time.process_time():7.2f} s  in all, {peak:.0f} MB at most")


if __name__ == "__main__":
    main()
