"""The states of Slurm jobs, asked for without waiting for the answer."""

from __future__ import annotations

import getpass
import logging
import subprocess
import tempfile
import time
from collections.abc import Collection
from typing import IO

from mtlbench.folder import FailureKind

GONE = "GONE"
"""A job that Slurm does not list."""

ENDED: dict[str, FailureKind] = {
    "OUT_OF_MEMORY": "out_of_memory",
    "TIMEOUT": "timeout",
    "DEADLINE": "timeout",
    **dict.fromkeys(
        ("NODE_FAIL", "BOOT_FAIL", "LAUNCH_FAILED", "RECONFIG_FAIL", "PREEMPTED", "CANCELLED", "REVOKED"),
        "lost",
    ),
    **dict.fromkeys(("COMPLETED", "FAILED", GONE), "lost"),
}
"""Final states, and what has become of a cell that left no outcome. Some are left again: a job that was
pre-empted or whose node failed may be put back into the queue."""

_ANSWER_SECONDS = 60.0
_SACCT = ["sacct", "--format=JobID,State", "--parsable2"]
_SQUEUE = ["squeue", "--noheader", "--states=all", "--format=%i|%T"]

log = logging.getLogger(__name__)


class States:
    """Asks sacct, and squeue where a cluster keeps no accounts, at most every `interval` seconds."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._known: dict[str, str] = {}
        self._asked_for: set[str] = set()
        self._asked: float | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._answer: IO[bytes] | None = None
        self._accounts = True

    def get(self, job_id: str) -> str:
        """The last known state, `UNKNOWN` before the first answer."""
        return self._known.get(job_id, "UNKNOWN")

    def update(self, job_ids: Collection[str]) -> None:
        """Take in an answer that has come; ask about these jobs if the last question is old enough."""
        now = time.monotonic()
        if self._process is not None:
            if self._process.poll() is not None:
                self._take_in()
            elif self._asked is not None and now - self._asked > _ANSWER_SECONDS:
                log.warning("%s does not answer", self._process.args)
                self.close()
        due = self._asked is None or now - self._asked >= self._interval
        if due and self._process is None and job_ids:
            self._ask(job_ids)
            self._asked = now

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        if self._answer is not None:
            self._answer.close()
            self._answer = None

    def _ask(self, job_ids: Collection[str]) -> None:
        """About whole arrays: asking about each of their tasks would take Slurm long."""
        self._asked_for = set(job_ids)
        arrays = sorted({job_id.split("_")[0] for job_id in job_ids})
        jobs = [f"--jobs={','.join(arrays)}"]
        command = [*_SACCT, *jobs] if self._accounts else [*_SQUEUE, f"--user={getpass.getuser()}"]
        self._answer = tempfile.TemporaryFile()  # noqa: SIM115 - an answer may be longer than a pipe holds
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=self._answer, stderr=subprocess.STDOUT
        )

    def _take_in(self) -> None:
        assert self._process is not None
        assert self._answer is not None
        self._answer.seek(0)
        text = self._answer.read().decode(errors="replace")
        failed = self._process.returncode != 0
        self.close()
        if failed:
            log.warning("%s: %s", "sacct" if self._accounts else "squeue", text.strip()[-500:])
            self._accounts = not self._accounts
            return
        states = _read(text)
        self._known = {job_id: states.get(job_id, GONE) for job_id in self._asked_for}


def _read(text: str) -> dict[str, str]:
    """Job id -> state, of lines `123_4|RUNNING`; ranges of an array that waits are written out.

    A job of which one step was out of memory counts as such whatever state it ended with.
    """
    from submitit.slurm.slurm import SlurmInfoWatcher

    lines = [line for line in text.splitlines() if "|" in line and not line.startswith("JobID")]
    jobs = SlurmInfoWatcher().read_info("\n".join(["JobID|State", *lines]))
    states = {job_id: (found["State"].split() or ["UNKNOWN"])[0] for job_id, found in jobs.items()}
    for line in lines:
        step, state = line.split("|")[:2]
        job_id = step.partition(".")[0]
        if state.startswith("OUT_OF_MEMORY") and states.get(job_id) in ENDED:
            states[job_id] = "OUT_OF_MEMORY"
    return states
