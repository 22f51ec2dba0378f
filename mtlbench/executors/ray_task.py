"""What runs in Ray's worker processes: it starts the process of one cell and looks after it.

Ray finds these functions by their names, and gives and takes nothing but plain values: every node has
mtlbench installed, and sees the same files.
"""

from __future__ import annotations

import os
import platform
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from fractions import Fraction
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypedDict

from mtlbench.executors.base import Event
from mtlbench.executors.forkserver import ForkServer, living
from mtlbench.executors.launched import Launched
from mtlbench.executors.slots import Share
from mtlbench.executors.supervised import GRACE_SECONDS, CellProcess, Supervised
from mtlbench.executors.threads import thread_variables
from mtlbench.folder import Failure, Job, RunFolder

_INTERVAL = 0.1
_server: ForkServer | None = None
"""Of this worker process."""


class News(TypedDict, total=False):
    """What a task says: first where it runs, then how its cell ended.

    Attributes:
        node: the machine's name.
        exit_code: of the cell's process.
        failure: JSON of a `Failure`: the limit that it passed, or what is wrong with the node.
    """

    node: str
    exit_code: int | None
    failure: str | None


def describe_node() -> dict[str, str]:
    """What must be the same on all nodes."""
    python = ".".join(platform.python_version_tuple()[:2])
    return {"Python": python} | {package: _version(package) for package in ("mtlbench", "torch")}


def differences(here: Mapping[str, str], there: Mapping[str, str]) -> str:
    """`torch is 2.9 instead of 2.8, ...`; empty where nothing differs."""
    differing = [name for name in here if here[name] != there.get(name)]
    return ", ".join(f"{name} is {there.get(name, 'absent')} instead of {here[name]}" for name in differing)


def run_job(job_file: str, cwd: str, environment: dict[str, str], versions: dict[str, str]) -> Iterator[News]:
    """Run a cell to its end; Ray's request to stop (SIGINT) makes it write a checkpoint and end.

    Args:
        job_file: of the cell.
        cwd: where relative paths of the grid start.
        environment: variables for the cell's process.
        versions: `describe_node` of the driver's machine.
    """
    unfit = differences(versions, describe_node()) or _invisible(job_file, cwd)
    if unfit:
        message = f"{platform.node()} can't run cells: {unfit}"
        yield {"failure": Failure(kind="lost", message=message).model_dump_json()}
        return
    asked: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: asked.append(number))
    try:
        os.chdir(cwd)
        cell = _start(job_file, environment, _given_gpus())
        try:
            yield {"node": platform.node()}
            ended = _look_after(cell, asked)
        finally:  # also where Ray drops the task at the line above
            cell.stop()
            while _poll(cell) is None:
                time.sleep(_INTERVAL)
        failure = ended.failure.model_dump_json() if ended.failure else None
        yield {"exit_code": ended.exit_code, "failure": failure}
    finally:
        signal.signal(signal.SIGINT, before)


def _look_after(cell: Supervised, asked: list[int]) -> Event:
    """Until it has ended."""
    stopping = False
    while (ended := _poll(cell)) is None:
        if asked and not stopping:
            cell.stop()
            stopping = True
        time.sleep(_INTERVAL)
    return ended


def _poll(cell: Supervised) -> Event | None:
    if _server is not None:
        _server.read()
    return cell.poll()


def _start(job_file: str, environment: dict[str, str], gpus: list[str]) -> Supervised:
    job = Job.model_validate_json(Path(job_file).read_bytes())
    threads = job.execution.threads or 1
    environment = environment | thread_variables(threads) | {"CUDA_VISIBLE_DEVICES": ",".join(gpus)}
    start = _fork if job.execution.devices == 1 else _Kept
    process: CellProcess = start(Path(job_file), RunFolder(job.folder).log, environment)
    return Supervised(job, process, Share(tuple(gpus), Fraction(1), threads, threads * job.execution.devices))


def _fork(job_file: Path, log_file: Path, environment: dict[str, str]) -> CellProcess:
    """From a process that has imported what cells need: each worker has one, which ends with it."""
    global _server
    _server = living(_server, os.environ | environment)
    return _server.start(job_file, log_file, environment)


class _Kept(Launched):
    """A fresh process under a keeper, for a cell that starts others for its further devices."""

    def __init__(self, job_file: Path, log_file: Path, environment: dict[str, str]) -> None:
        keeper = [sys.executable, "-m", "mtlbench.executors.keeper", str(GRACE_SECONDS)]
        super().__init__(job_file, log_file, os.environ | environment, under=keeper)

    def poll(self) -> int | None:
        code = super().poll()
        return code if code is None or code < 128 else 128 - code


def _invisible(job_file: str, cwd: str) -> str:
    """Which of these it does not see; a file that was just written may take a moment to be seen elsewhere."""
    deadline = time.monotonic() + 10
    while not Path(job_file).exists():
        if time.monotonic() > deadline:
            return f"it does not see {job_file}: runs must be on a file system that all nodes share"
        time.sleep(_INTERVAL)
    return "" if Path(cwd).is_dir() else f"it has no folder {cwd}, from where the run was started"


def _given_gpus() -> list[str]:
    import ray

    return [str(gpu) for gpu in ray.get_runtime_context().get_accelerator_ids()["GPU"]]


def _version(package: str) -> str:
    """Without what says how it was built: a node with GPUs has another build."""
    try:
        return version(package).partition("+")[0]
    except PackageNotFoundError:
        return "absent"
