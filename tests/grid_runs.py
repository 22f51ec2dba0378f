"""Real grids in real processes, on the tiny plugins."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml
from conftest import TINY_PLUGINS
from forked_commands import Command

TIMEOUT = 480

GRID: dict[str, Any] = {
    "name": "tiny",
    "plugins": [str(TINY_PLUGINS)],
    "dataset": "tiny",
    "backbone": "tiny",
    "method": "troubled",
    "recipe": {"iterations": 12, "batch_size": 4},
    "execution": {"checkpoint_seconds": 0.01, "log_every": 1, "gallery": 2, "retries": 0},
}


class GridRuns:
    """A folder with a grid file and its runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runs = folder / "runs"

    def write(self, **changes: Any) -> None:
        content = {key: value for key, value in {**GRID, **changes}.items() if value is not None}
        (self.folder / "grid.yaml").write_text(yaml.safe_dump(content))

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "mtlbench", *arguments]

    def mtlbench(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return Command(arguments, self.folder, together=False).completed(TIMEOUT)

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return self.mtlbench("run", "grid.yaml", "--jobs", "2", *arguments)

    def start(self, *arguments: str, command: str = "run", jobs: int = 2) -> Command:
        """A command in the background."""
        return Command((command, "grid.yaml", "--jobs", str(jobs), *arguments), self.folder)

    def cells(self) -> list[Path]:
        return sorted((self.runs / "cells").iterdir())

    def results(self) -> dict[str, dict[str, Any]]:
        """Cell id -> result, of the cells that are done."""
        files = (self.runs / "cells").glob("*/result.json")
        return {file.parent.name: json.loads(file.read_text()) for file in files}

    def failures(self) -> dict[str, dict[str, Any]]:
        files = (self.runs / "cells").glob("*/failure.json")
        return {file.parent.name: json.loads(file.read_text()) for file in files}

    def scores(self) -> list[dict[str, Any]]:
        """The scores of all cells that are done, sorted by what was run, whatever the cells' ids."""
        found = self.results().values()
        key = [(r["cell"]["balancer"]["name"], r["cell"]["tasks"], r["scores"]) for r in found]
        return [scores for _, _, scores in sorted(key, key=lambda entry: entry[:2])]

    def steps(self) -> list[int]:
        """The last step that each running cell has noted."""
        counts = []
        for file in (self.runs / "cells").glob("*/history.jsonl"):
            lines = file.read_text().splitlines()
            counts.append(json.loads(lines[-1])["step"] if lines else 0)
        return counts

    def wait_for_steps(self, count: int, process: "Command | subprocess.Popen[str]") -> None:
        """Until some cell has made so many steps."""
        deadline = time.monotonic() + TIMEOUT
        while max(self.steps(), default=0) < count:
            assert process.poll() is None, process.stdout.read() if process.stdout else ""
            assert time.monotonic() < deadline
            time.sleep(0.02)
