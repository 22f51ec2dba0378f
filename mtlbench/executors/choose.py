"""The executor that a command line asks for."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mtlbench.config import Grid
from mtlbench.errors import MtlbenchError
from mtlbench.executors.base import Executor
from mtlbench.folder import Job
from mtlbench.options import parse_assignment
from mtlbench.spec import Cell
from mtlbench.store import Runs

ExecutorName = Literal["local", "ray", "slurm"]


@dataclass(frozen=True)
class Where:
    """Where cells run.

    Attributes:
        executor: its name.
        jobs: local: cells at a time.
        address: ray: HOST:PORT of a cluster, `auto`, or `local` for one of this machine's own.
        slurm: parameters of the jobs as KEY=VALUE (partition=gpu).
        dry_run: slurm: say what would be submitted.
    """

    executor: ExecutorName = "local"
    jobs: int | None = None
    address: str | None = None
    slurm: Sequence[str] = ()
    dry_run: bool = False

    def __post_init__(self) -> None:
        needs = {"jobs": "local", "address": "ray", "slurm": "slurm", "dry_run": "slurm"}
        for option, executor in needs.items():
            if getattr(self, option) and self.executor != executor:
                name = option.replace("_", "-")
                raise MtlbenchError(f"--{name} is for --executor {executor}, not for {self.executor}")
        if self.jobs is not None and self.jobs < 1:
            raise MtlbenchError(f"--jobs must be >= 1, got {self.jobs}")


def make_executor(where: Where, runs: Path) -> Executor:
    """The executor, ready for jobs.

    Args:
        where: what the command line says.
        runs: the folder of runs, which all machines share.

    Raises:
        MtlbenchError: what it needs is not installed, or an option is wrong.
    """
    if where.executor == "ray":
        from mtlbench.executors.ray_cluster import RayExecutor

        return RayExecutor(address=where.address)
    if where.executor == "slurm":
        from mtlbench.executors.slurm import SlurmExecutor

        parameters: dict[str, Any] = dict(map(parse_assignment, where.slurm))
        return SlurmExecutor(runs / "slurm", parameters=parameters)
    from mtlbench.executors.local import LocalExecutor

    local = LocalExecutor(jobs=where.jobs)
    local.warm_up()
    return local


def dry_run(where: Where, runs: Runs, cells: list[Cell], grid: Grid) -> str:
    """What would be submitted to Slurm at first, and how many of these cells follow later."""
    from mtlbench.executors.slurm import SlurmExecutor

    parameters = dict(map(parse_assignment, where.slurm))
    with closing(SlurmExecutor(runs.root / "slurm", parameters=parameters, dry_run=True)) as executor:
        first = [cell for cell in cells if all(runs.folder(parent).result() for parent in cell.parents)]
        for cell in first:
            folder = runs.folder(cell).path
            executor.submit(Job(cell=cell, folder=folder, execution=grid.execution, plugins=grid.plugins))
        later = len(cells) - len(first)
        note = f"\n# {later} cells follow, each when what it starts from is done" if later else ""
        return executor.describe() + note
