"""What runs inside a Slurm job: the process of one cell, its limits, and going on after a pre-emption."""

from __future__ import annotations

import os
import signal
import time
from fractions import Fraction
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from mtlbench.executors.base import Event
from mtlbench.executors.launched import Launched
from mtlbench.executors.slots import Share
from mtlbench.executors.supervised import Supervised
from mtlbench.executors.threads import thread_variables
from mtlbench.folder import Job, RunFolder

if TYPE_CHECKING:
    from submitit.helpers import DelayedSubmission

_INTERVAL = 0.1
_BY_ITSELF = (0, 1)
"""Exit codes of a cell that reached its end, or failed with a reason in its folder."""

_KEPT = ("SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID")
_LAUNCHER = ("SLURM_", "SRUN_", "PMI_", "PMIX_", "SUBMITIT_")


class _Ended(Exception):
    """The cell was through before it could be stopped: there is nothing to go on with."""

    def __init__(self, event: Event) -> None:
        self.event = event


class CellJob:
    """Called in the job with the path of a cell's job file. It is pickled by its name alone.

    Slurm's notice (pre-emption, or the job's time is nearly up) makes submitit call `checkpoint` from a
    signal handler, anywhere in the call; what that returns goes back into the queue under the same job id.
    """

    def __init__(self) -> None:
        self._cell: Supervised | None = None
        self._told_to_stop = False

    def __call__(self, job_file: str) -> tuple[int | None, str | None]:
        """Run the cell to its end.

        Returns:
            the exit code of its process; and the JSON of a `Failure` where a limit was passed.
        """
        job = Job.model_validate_json(Path(job_file).read_bytes())
        signal.signal(signal.SIGTERM, self._stop_soon)
        try:
            ended = self._run(job, job_file)
        except _Ended as early:
            ended = early.event
        finally:  # from here on a notice would come too late, and disturb the writing of the outcome
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            signal.signal(notice(), signal.SIG_IGN)
        return ended.exit_code, ended.failure.model_dump_json() if ended.failure else None

    def checkpoint(self, job_file: str) -> DelayedSubmission:
        """Stop the cell, which leaves a checkpoint; one that is killed after the grace has its last one."""
        from submitit.helpers import DelayedSubmission

        if self._cell is not None:
            self._cell.stop()
            ended = _wait(self._cell)
            if ended.failure is not None or ended.exit_code in _BY_ITSELF:
                raise _Ended(ended)
        return DelayedSubmission(CellJob(), job_file)

    def _run(self, job: Job, job_file: str) -> Event:
        threads = job.execution.threads or max(1, _cores() // job.execution.devices)
        folder = RunFolder(job.folder)
        folder.path.mkdir(parents=True, exist_ok=True)
        process = _Process(Path(job_file), folder.log, _environment(threads), before=_ignore_notices)
        nothing_shared = Share(gpus=(), part=Fraction(1), threads=threads, cores=threads)
        self._cell = cell = Supervised(job, process, nothing_shared)
        while (ended := cell.poll()) is None:
            if self._told_to_stop:
                cell.stop()
                return _wait(cell)
            time.sleep(_INTERVAL)
        return ended

    def _stop_soon(self, number: int, frame: FrameType | None) -> None:
        self._told_to_stop = True


class _Process(Launched):
    """A child that may be asked after from a signal handler that broke into asking (`Popen.poll` may not)."""

    def poll(self) -> int | None:
        """Leaves the process to be waited for, so that its id stays its own."""
        ended = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
        if ended is None:
            return None
        return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status


def notice() -> signal.Signals:
    """The signal by which submitit hears of a pre-emption or the end of the job's time."""
    return signal.Signals[f"SIG{os.environ.get('SUBMITIT_PREEMPT_SIGNAL', 'USR2')}"]


def _wait(cell: Supervised) -> Event:
    while (ended := cell.poll()) is None:
        time.sleep(_INTERVAL)
    return ended


def _ignore_notices() -> None:
    """Some clusters signal all processes of a job; the notice would end the cell before its checkpoint."""
    signal.signal(notice(), signal.SIG_IGN)


def _environment(threads: int) -> dict[str, str]:
    """Without Slurm's description of the step: Fabric would take its single task for the cell's devices.

    The name of the job tells Fabric that devices are the cell's own affair.
    """
    kept = {k: v for k, v in os.environ.items() if k in _KEPT or not k.startswith(_LAUNCHER)}
    return kept | thread_variables(threads) | {"SLURM_JOB_NAME": "interactive"}


def _cores() -> int:
    """Those that Slurm gave; without task affinity the process may see all of the machine's."""
    given = os.environ.get("SLURM_CPUS_PER_TASK") or os.environ.get("SLURM_CPUS_ON_NODE")
    return int(given) if given else len(os.sched_getaffinity(0))
