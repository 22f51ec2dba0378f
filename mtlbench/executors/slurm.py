"""Runs cells as jobs of a Slurm cluster; submitit hands them on, as arrays of cells that need the same."""

from __future__ import annotations

import json
import logging
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from mtlbench.errors import MtlbenchError
from mtlbench.executors import slurm_parameters
from mtlbench.executors.base import Event
from mtlbench.executors.slurm_cell import SlurmCell
from mtlbench.executors.slurm_job import CellJob
from mtlbench.executors.slurm_record import Handed, Record, left_behind
from mtlbench.executors.slurm_states import ENDED, States
from mtlbench.executors.supervised import GRACE_SECONDS
from mtlbench.folder import Failure, Job, RunFolder
from mtlbench.options import Problem

LARGEST_ARRAY = 1000
"""Cells of one array; Slurm's own limit (MaxArraySize) is 1001 unless a cluster sets another."""
LOOK_SECONDS = 1.0
"""Between two looks at which jobs have left an outcome."""
KILL_SECONDS = 60.0
"""How long Slurm may take to end what was cancelled (its KillWait is 30 by default)."""
AGAIN_SECONDS = 30.0
"""After a submission for which Slurm had no time."""
_PASSING = ("Socket timed out", "Unable to contact", "temporarily un")
_COMMANDS = ("sbatch", "srun", "scancel")

log = logging.getLogger(__name__)


class SlurmExecutor:
    """One Slurm job a cell.

    Jobs outlive the driver: one that is started again on the same folder takes them over.

    Args:
        folder: for submitit's files; all machines share it.
        parameters: of submitit's Slurm executor, such as `partition`, `time` (minutes), `account`,
            `array_parallelism`; they come before what cells ask for.
        dry_run: nothing is submitted; `describe` says what would be.
        cluster: `local`: submitit runs the jobs on this machine.
        ask_every: seconds between two questions to Slurm.
        patience: as of `SlurmCell`.

    Raises:
        MtlbenchError: with all that is wrong with the parameters.
    """

    def __init__(
        self,
        folder: Path,
        *,
        parameters: dict[str, Any],
        dry_run: bool = False,
        cluster: Literal["slurm", "local"] = "slurm",
        ask_every: float = 15.0,
        patience: float = 60.0,
    ) -> None:
        self._given, problems = slurm_parameters.check_parameters(parameters)
        if cluster == "slurm" and not dry_run:
            absent = [f"`{command}`" for command in _COMMANDS if shutil.which(command) is None]
            if absent:
                text = f"no {', '.join(absent)} on this machine: run on a login node, or with --dry-run"
                problems.append(Problem("--executor slurm", text))
        if problems:
            valid = f"parameters that --slurm takes: {', '.join(slurm_parameters.valid_names())}"
            raise MtlbenchError("\n".join([*map(str, problems), valid]))
        self._dry_run, self._cluster, self._patience = dry_run, cluster, patience
        self._record = Record(folder.absolute())
        self._left_behind = left_behind(folder.absolute())
        self._states = States(ask_every)
        self._waiting: list[Job] = []
        self._cells: dict[str, SlurmCell] = {}
        self._handles: dict[str, Any] = {}
        self._looked = self._not_before = -float("inf")
        _quiet_submitit()

    def submit(self, job: Job) -> None:
        """The next `poll` hands it on.

        Raises:
            MtlbenchError: Slurm can't be asked for what it needs.
        """
        slurm_parameters.parameters_of(job.execution, self._given)
        self._waiting.append(job)

    def room(self) -> int:
        return sys.maxsize

    def poll(self) -> list[Event]:
        """What happened since the last call. It waits for sbatch alone.

        Raises:
            MtlbenchError: sbatch refuses the first jobs.
        """
        if self._dry_run:
            return []
        events = self._hand_on()
        now = time.monotonic()
        if now - self._looked >= LOOK_SECONDS:
            self._looked = now
            self._states.update(self._job_ids())
            files = self._files()
            for cell in list(self._cells.values()):
                events += cell.look(self._state(cell), has_outcome=cell.outcome in files)
            ended = [cell for cell in self._cells.values() if cell.ended]
            self._scancel(ids={cell.handed.job_id for cell in ended if cell.may_come_back})
            for cell in ended:
                self._let_go(cell)
        return events

    def wait(self, seconds: float) -> None:
        time.sleep(seconds)

    def idle(self) -> bool:
        return self._dry_run or not (self._waiting or self._cells)

    def cancel(self) -> None:
        """Drop what waits and let what runs write checkpoints; what takes too long is ended by Slurm."""
        self._waiting.clear()
        if not self._cells:
            return
        self._scancel("--state=PENDING")
        self._scancel("--signal=TERM")  # to the steps: a job lives on until its cell has stopped
        self._wait_until_gone(GRACE_SECONDS + 10)
        self._scancel()
        self._wait_until_gone(KILL_SECONDS)
        if self._cells:
            log.warning("Slurm has not ended these jobs yet: %s", ", ".join(sorted(self._job_ids())))

    def close(self) -> None:
        self._states.close()

    def describe(self) -> str:
        """The batch files of all that waits to be handed on, an array each."""
        texts = []
        command = f"{shlex.quote(sys.executable)} -u -m submitit.core._submit {shlex.quote(str(self._place))}"
        for parameters, jobs in self._arrays():
            text = slurm_parameters.describe_array(parameters, command, str(self._place), len(jobs))
            names = "\n".join(f"#   {job.cell.id}" for job in jobs)
            texts.append(f"# {len(jobs)} cells, {_needs(jobs[0])}\n{names}\n{text}")
        return "\n".join(texts)

    @property
    def _place(self) -> Path:
        return self._record.place

    def _arrays(self) -> Iterator[tuple[dict[str, Any], list[Job]]]:
        """What waits, grouped by what is asked of Slurm."""
        groups: dict[str, list[Job]] = {}
        for job in self._waiting:
            parameters = slurm_parameters.parameters_of(job.execution, self._given)
            groups.setdefault(json.dumps(parameters, sort_keys=True), []).append(job)
        for key, jobs in groups.items():
            for i in range(0, len(jobs), LARGEST_ARRAY):
                yield json.loads(key), jobs[i : i + LARGEST_ARRAY]

    def _hand_on(self) -> list[Event]:
        """Take over jobs of an earlier driver, submit the rest; cells of an array that is refused fail."""
        self._waiting = [job for job in self._waiting if not self._adopt(job)]
        if time.monotonic() < self._not_before:
            return []
        arrays, self._waiting = list(self._arrays()), []
        events: list[Event] = []
        for parameters, jobs in arrays:
            try:
                for job in jobs:
                    RunFolder(job.folder).create(job)
                handles = self._submit_array(parameters, jobs)
            except Exception as error:  # of submitit, of the commands that it runs, of a full disk
                events += self._refused(error, jobs)
                continue
            for job, handle in zip(jobs, handles, strict=True):
                self._handles[job.cell.id] = handle
                self._look_after(job, Handed(job.cell.id, handle.job_id, self._place))
        return events

    def _refused(self, error: Exception, jobs: Sequence[Job]) -> list[Event]:
        """What passes by itself is tried again; else the cells have failed, the first ones with an error."""
        text = f"Slurm refused {len(jobs)} cells: {error}"
        if any(words in str(error) for words in _PASSING):
            log.warning("%s; trying again in %g s", text, AGAIN_SECONDS)
            self._not_before = time.monotonic() + AGAIN_SECONDS
            self._waiting += jobs
            return []
        full = isinstance(error, OSError)
        if not self._cells and not full:
            raise MtlbenchError(text) from error
        failure = Failure(kind="disk_full" if full else "input", message=text)
        return [Event(job.cell.id, "finished", failure=failure) for job in jobs]

    def _submit_array(self, parameters: dict[str, Any], jobs: Sequence[Job]) -> Sequence[Any]:
        """The handles that submitit gives."""
        import submitit

        most = parameters.pop("max_num_timeout", slurm_parameters.MANY_TIMEOUTS)
        if self._cluster == "slurm":
            executor: Any = submitit.SlurmExecutor(self._place, max_num_timeout=most)
            executor.update_parameters(**parameters)
        else:
            executor = submitit.LocalExecutor(self._place, max_num_timeout=most)
            executor.update_parameters(timeout_min=parameters["time"])
        files = [str(RunFolder(job.folder).job.absolute()) for job in jobs]
        handles: Sequence[Any] = executor.map_array(CellJob(), files)
        return handles

    def _adopt(self, job: Job) -> bool:
        handed = self._left_behind.pop(job.cell.id, None)
        if handed is None or self._cluster != "slurm":
            return False
        log.info("%s: taking over the Slurm job %s of an earlier driver", job.cell.id, handed.job_id)
        self._look_after(job, handed, adopted=True)
        return True

    def _look_after(self, job: Job, handed: Handed, *, adopted: bool = False) -> None:
        from submitit.core.utils import JobPaths

        outcome = JobPaths(handed.place, handed.job_id).result_pickle
        self._record.hand(handed)
        cell = SlurmCell(job, handed, outcome, patience=self._patience, adopted=adopted)
        self._cells[handed.cell] = cell

    def _let_go(self, cell: SlurmCell) -> None:
        """Of a job that ended."""
        del self._cells[cell.handed.cell]
        self._handles.pop(cell.handed.cell, None)
        cell.outcome.unlink(missing_ok=True)
        self._record.finish(cell.handed)
        if cell.stale:
            self._waiting.append(cell.job)

    def _state(self, cell: SlurmCell) -> str:
        if self._cluster == "slurm":
            return self._states.get(cell.handed.job_id)
        running = self._handles[cell.handed.cell].state == "RUNNING"
        return "RUNNING" if running else "COMPLETED"

    def _files(self) -> set[Path]:
        """What jobs have left, by listing their folders: cheaper than asking for each file."""
        found = set()
        for place in {cell.handed.place for cell in self._cells.values()}:
            with suppress(OSError):  # not there yet, or the file system does not answer: the next look will
                found |= {place / name for name in os.listdir(place)}
        return found

    def _job_ids(self) -> set[str]:
        return {cell.handed.job_id for cell in self._cells.values()} if self._cluster == "slurm" else set()

    def _scancel(self, *options: str, ids: set[str] | None = None) -> None:
        """Some may have ended by themselves: what scancel says of them does not matter."""
        ids = self._job_ids() if ids is None else ids
        if self._cluster != "slurm" or not ids:
            return
        command = ["scancel", "--quiet", *options, *sorted(ids)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        except subprocess.TimeoutExpired:
            log.warning("scancel does not answer")
            return
        if done.returncode:
            log.debug("%s: %s", " ".join(command), done.stderr.strip())

    def _wait_until_gone(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while self._cells and time.monotonic() < deadline:
            self._states.update(self._job_ids())
            files = self._files()
            for cell in list(self._cells.values()):
                if cell.outcome in files or self._state(cell) in ENDED:
                    self._let_go(cell)
            time.sleep(0.2)


def _needs(job: Job) -> str:
    execution = job.execution
    names = ("devices", "threads", "memory_gb", "time_limit")
    return ", ".join(f"{name} {getattr(execution, name)}" for name in names)


def _quiet_submitit() -> None:
    """Its import makes it print to the terminal, over the live view; warnings go where ours go."""
    import submitit  # noqa: F401

    logger = logging.getLogger("submitit")
    logger.handlers.clear()
    logger.setLevel(logging.WARNING)
