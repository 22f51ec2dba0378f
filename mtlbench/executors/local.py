"""Runs cells on this machine: a process each, which has GPUs and cores of its own."""

from __future__ import annotations

import os
import time

from mtlbench.errors import MtlbenchError
from mtlbench.executors.base import Event, not_started
from mtlbench.executors.forkserver import ForkServer, living
from mtlbench.executors.launched import Launched
from mtlbench.executors.slots import Share, Slots
from mtlbench.executors.supervised import CellProcess, Supervised
from mtlbench.executors.threads import thread_variables
from mtlbench.executors.waiting import Waiting
from mtlbench.folder import Job, RunFolder
from mtlbench.spec import Execution


class LocalExecutor:
    """One process a cell on this machine.

    Args:
        jobs: cells at a time; default: as many as the GPUs have room for, without GPUs one per core.
        gpus: ids that may be used; default: all visible ones. [] uses none.
    """

    def __init__(self, *, jobs: int | None = None, gpus: list[str] | None = None) -> None:
        if jobs is not None and jobs < 1:
            raise MtlbenchError(f"--jobs must be >= 1, got {jobs}")
        self._slots = Slots(jobs=jobs, cores=usable_cores(), gpus=visible_gpus() if gpus is None else gpus)
        self._waiting = Waiting()
        self._running: dict[str, Supervised] = {}
        self._unreported: list[Event] = []
        self._server: ForkServer | None = None

    def warm_up(self) -> None:
        """Start the process that starts cells: its imports then overlap with what the driver does first."""
        threads = thread_variables(self._slots.threads(Execution()))
        self._server = living(self._server, os.environ | threads)

    def submit(self, job: Job) -> None:
        """Run the job as soon as there is room.

        Raises:
            MtlbenchError: there never will be.
        """
        self._slots.check(job.execution)
        self._waiting.append(job)

    def room(self) -> int:
        """As many may wait as run, so that each that ends is followed at once, and two more."""
        return max(0, len(self._running) + 2 - len(self._waiting))

    def poll(self) -> list[Event]:
        self._look_after_running()
        while (found := self._waiting.start_next(self._slots)) is not None:
            job, share = found
            try:
                self._start(job, share)
            except OSError as error:
                self._slots.give_back(share)
                self._unreported.append(not_started(job, error))
            else:
                self._unreported.append(Event(job.cell.id, "started"))
        events, self._unreported = self._unreported, []
        return events

    def wait(self, seconds: float) -> None:
        """Sleep until a cell has ended, at most so long."""
        if self._server is None:
            time.sleep(seconds)
        else:
            self._server.wait(seconds)

    def idle(self) -> bool:
        return not self._waiting and not self._running and not self._unreported

    def cancel(self) -> None:
        self._waiting.clear()
        for running in self._running.values():
            running.stop()
        while self._running:
            self._look_after_running()
            self.wait(0.05)

    def close(self) -> None:
        self.cancel()
        if self._server is not None:
            self._server.close()
            self._server = None

    def _look_after_running(self) -> None:
        if self._server is not None:
            self._server.read()
        for cell, running in list(self._running.items()):
            ended = running.poll()
            if ended is not None:
                self._slots.give_back(self._running.pop(cell).share)
                self._unreported.append(ended)

    def _start(self, job: Job, share: Share) -> None:
        """In a session of its own: Ctrl-C reaches the driver alone, which stops its cells in good order."""
        execution = job.execution.model_copy(update={"threads": share.threads})
        job = job.model_copy(update={"execution": execution})
        folder = RunFolder(job.folder)
        folder.create(job)
        environment = thread_variables(share.threads) | {"CUDA_VISIBLE_DEVICES": ",".join(share.gpus)}
        if execution.devices == 1:
            process = self._fork(folder, environment)
        else:
            process = Launched(folder.job, folder.log, os.environ | environment)
        self._running[job.cell.id] = Supervised(job, process, share)

    def _fork(self, folder: RunFolder, environment: dict[str, str]) -> CellProcess:
        self.warm_up()
        assert self._server is not None
        return self._server.start(folder.job, folder.log, environment)


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def visible_gpus() -> list[str]:
    """Ids of the GPUs that this process may use, without touching them."""
    import torch

    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [gpu for gpu in chosen.split(",") if gpu.strip() and gpu.strip() != "-1"]
    return [str(i) for i in range(torch.cuda.device_count())]
