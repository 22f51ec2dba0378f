"""A grid of short cells, its runs, and what can be seen of them from outside."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import yaml
from chaos_cells import EVENTS

from mtlbench.folder import RunFolder

CELLS = Path(__file__).parent / "chaos_cells.py"
SHIFTER = Path(__file__).parent / "chaos_clock.c"
TASKS = ("semseg", "depth", "normals")
BALANCERS = (
    *("dwa", "uncertainty", "famo", "pcgrad", "gradnorm", "moco", "cagrad", "nash_mtl", "imtl_l", "db_mtl"),
    *("rlw", "sdmgrad", "stch", "excess_mtl", "equal"),
)
"""Most of them have state of their own."""


def grid(cells: int, iterations: int) -> dict[str, Any]:
    """At least so many cells, 6 a balancer: a joint network, one per task, two that continue one of these."""
    addition = {"name": "task_addition", "base": [TASKS[0]], "add": list(TASKS[1:])}
    return {
        "name": "chaos",
        "plugins": [str(CELLS)],
        "dataset": "patches",
        "backbone": "four_convolutions",
        "method": "paced",
        "balancer": list(BALANCERS[: -(-cells // 6)]),
        "protocol": ["joint", "single_task", addition],
        "recipe": {"iterations": iterations, "batch_size": 4, "lr": 0.05},
        "execution": {
            "checkpoint_seconds": 0.2,
            "log_every": 1,
            "gallery": 1,
            "stuck_after": 0.4,
            "retries": 5,
        },
    }


@dataclass
class Scene:
    """One folder with a grid file and its runs.

    Attributes:
        place: for the grid file and what drivers print.
        clock: a file with the seconds by which the time of day of drivers and cells is off.
        shifter: a library that shifts it, from `compile_shifter`; None: it is the real one.
        options: of `mtlbench run`.
        exits: exit codes of the drivers so far.
    """

    place: Path
    runs: Path
    content: dict[str, Any]
    clock: Path | None = None
    shifter: Path | None = None
    options: Sequence[str] = ("--jobs", "2")
    exits: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.place.mkdir(parents=True, exist_ok=True)
        self.events = self.place / "events.jsonl"
        self.output = self.place / "drivers.log"
        (self.place / "grid.yaml").write_text(yaml.safe_dump(self.content))
        self.events.touch()
        self._known: dict[str, tuple[tuple[int, ...], str | None]] = {}

    @property
    def iterations(self) -> int:
        return int(self.content["recipe"]["iterations"])

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """A driver, in the background."""
        arguments = arguments or ("run", "grid.yaml", "--runs", str(self.runs), "-y", *self.options)
        environment = os.environ | {EVENTS: str(self.events), "OMP_NUM_THREADS": "1"}
        if self.shifter is not None:
            environment |= {"LD_PRELOAD": str(self.shifter), "CHAOS_CLOCK": str(self.clock)}
        with self.output.open("ab") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "mtlbench", *arguments],
                cwd=self.place,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
            )

    def run(self, *arguments: str, timeout: float = 1800) -> int:
        """The same to its end."""
        code = self.start(*arguments).wait(timeout)
        self.exits.append(code)
        return code

    def folders(self) -> dict[str, RunFolder]:
        return {path.name: RunFolder(path) for path in sorted((self.runs / "cells").glob("*"))}

    def scores(self) -> dict[str, str]:
        """Of the cells whose result is whole, as text that is equal only where all numbers are."""
        for cell, folder in self.folders().items():
            try:
                state = (folder.path / "result.json").stat()
            except FileNotFoundError:
                self._known.pop(cell, None)
                continue
            seen = (state.st_ino, state.st_mtime_ns, state.st_size)
            if cell not in self._known or self._known[cell][0] != seen:
                result = folder.result()
                scores = None if result is None else json.dumps(result.scores, sort_keys=True)
                self._known[cell] = (seen, scores)
        return {cell: scores for cell, (_, scores) in self._known.items() if scores is not None}

    def losses(self) -> dict[str, list[tuple[int, str]]]:
        """Of every cell the steps that it has noted, with their losses."""
        noted = {}
        for cell, folder in self.folders().items():
            lines = []
            for line in folder.history.read_bytes().splitlines() if folder.history.exists() else ():
                with suppress(ValueError):
                    read = json.loads(line)
                    lines.append((read["step"], json.dumps(read["losses"], sort_keys=True)))
            noted[cell] = lines
        return noted

    def steps(self) -> dict[str, int]:
        """The last step of every cell that has noted one."""
        lines = {cell: folder.last_line() for cell, folder in self.folders().items()}
        return {cell: line["step"] for cell, line in lines.items() if line is not None}

    def told(self) -> list[dict[str, Any]]:
        """What cells have written into the file of events."""
        return [json.loads(line) for line in self.events.read_text().splitlines()]

    def running(self) -> dict[str, int]:
        """Cell -> id of the process that trains it; not those that have ended."""
        folders = self.folders()
        return {cell: pid for cell, pid in self.processes().items() if _is_cell(pid, folders[cell])}

    def processes(self) -> dict[str, int]:
        """Cell -> id of the newest process that has begun it, whatever became of it."""
        return {told["cell"]: told["pid"] for told in self.told() if told["event"] == "begun"}


def _is_cell(pid: int, folder: RunFolder) -> bool:
    """Whether the process is there, is one of ours, and has not written its result yet."""
    if folder.result() is not None:
        return False
    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and "mtlbench" in " ".join(process.cmdline())
    except psutil.Error:
        return False


def wait_until(holds: Callable[[], bool], seconds: float) -> bool:
    """Whether it does within that time."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def compile_shifter(place: Path) -> Path | None:
    """The library, where there is a C compiler."""
    library = place / "chaos_clock.so"
    command = ["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(SHIFTER)]
    if shutil.which("cc") is None or subprocess.run(command, check=False).returncode:
        return None
    return library
