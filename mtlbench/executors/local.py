"""Runs cells on this machine: a process each, so many at a time, GPUs by CUDA_VISIBLE_DEVICES."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import deque
from dataclasses import dataclass
from typing import Protocol

from mtlbench.errors import MtlbenchError
from mtlbench.executors.base import Event
from mtlbench.executors.forkserver import ForkServer
from mtlbench.folder import Job, RunFolder

GRACE_SECONDS = 60.0
"""How long a cell that was asked to stop may take to write its checkpoint."""

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


class _Process(Protocol):
    """What `subprocess.Popen` and `Forked` have in common."""

    def poll(self) -> int | None: ...

    def terminate(self) -> None: ...

    def kill(self) -> None: ...


@dataclass
class _Running:
    process: _Process
    gpus: list[str]


class LocalExecutor:
    """One process a cell on this machine.

    Args:
        jobs: cells at a time; default: one per GPU, without GPUs one per core.
        gpus: ids that may be used; default: all visible ones. [] uses none.
    """

    def __init__(self, *, jobs: int | None = None, gpus: list[str] | None = None) -> None:
        self._free_gpus = visible_gpus() if gpus is None else list(gpus)
        self._use_gpus = bool(self._free_gpus)
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        if jobs is not None and jobs < 1:
            raise MtlbenchError(f"--jobs must be >= 1, got {jobs}")
        self.jobs = jobs or len(self._free_gpus) or cores
        self.threads = max(1, cores // self.jobs)
        self._waiting: deque[Job] = deque()
        self._running: dict[str, _Running] = {}
        self._server: ForkServer | None = None
        self._started = 0

    def submit(self, job: Job) -> None:
        if self._use_gpus and job.execution.devices > len(visible_gpus()):
            found = f"{job.execution.devices} of {len(visible_gpus())}"
            raise MtlbenchError(f"`execution.devices` must be at most the number of GPUs, got {found}")
        self._waiting.append(job)

    def poll(self) -> list[Event]:
        events = []
        for cell, running in list(self._running.items()):
            code = running.process.poll()
            if code is not None:
                del self._running[cell]
                self._free_gpus += running.gpus
                events.append(Event(cell, "finished", code))
        while self._waiting and self._has_room(self._waiting[0]):
            job = self._waiting.popleft()
            self._start(job)
            events.append(Event(job.cell.id, "started"))
        return events

    def idle(self) -> bool:
        return not self._waiting and not self._running

    def cancel(self) -> None:
        self._waiting.clear()
        for running in self._running.values():
            running.process.terminate()
        deadline = time.monotonic() + GRACE_SECONDS
        while any(running.process.poll() is None for running in self._running.values()):
            if time.monotonic() > deadline:
                for running in self._running.values():
                    running.process.kill()
            time.sleep(0.05)

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    def _has_room(self, job: Job) -> bool:
        if self._use_gpus and len(self._free_gpus) < job.execution.devices:
            return False
        return len(self._running) < self.jobs

    def _start(self, job: Job) -> None:
        """In a session of its own: Ctrl-C reaches the driver alone, which stops its cells in good order."""
        threads = job.execution.threads or self.threads
        job = job.model_copy(update={"execution": job.execution.model_copy(update={"threads": threads})})
        folder = RunFolder(job.folder)
        folder.create(job)
        gpus = [self._free_gpus.pop(0) for _ in range(job.execution.devices if self._use_gpus else 0)]
        environment = dict.fromkeys(_THREAD_VARIABLES, str(threads)) | {
            "CUDA_VISIBLE_DEVICES": ",".join(gpus)
        }
        start = self._fork if job.execution.devices == 1 else _launch
        self._running[job.cell.id] = _Running(start(folder, environment), gpus)

    def _fork(self, folder: RunFolder, environment: dict[str, str]) -> _Process:
        if self._server is None:
            self._server = ForkServer(os.environ | dict.fromkeys(_THREAD_VARIABLES, str(self.threads)))
        self._started += 1
        return self._server.start(str(self._started), folder.job, folder.log, environment)


def _launch(folder: RunFolder, environment: dict[str, str]) -> _Process:
    """A fresh process: one that starts others for its further devices needs a command line to repeat."""
    with folder.log.open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "mtlbench", "run-cell", str(folder.job)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=os.environ | environment | {"MTLBENCH_DRIVER": str(os.getpid())},
            start_new_session=True,
        )


def visible_gpus() -> list[str]:
    """Ids of the GPUs that this process may use, without touching them."""
    import torch

    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [gpu for gpu in chosen.split(",") if gpu.strip() and gpu.strip() != "-1"]
    return [str(i) for i in range(torch.cuda.device_count())]
