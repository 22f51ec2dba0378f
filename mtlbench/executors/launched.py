"""A cell's process that is started from nothing, not forked (`mtlbench.executors.forkserver`)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from mtlbench.executors.supervised import CellProcess


class Launched(CellProcess):
    """`mtlbench run-cell`: a cell that starts others for its further devices needs a command line to repeat.

    Args:
        job: its job file.
        log_file: of what it writes.
        environment: all variables but those that every cell's process has.
        under: a command that runs it as its child.
        before: called in the new process ahead of everything else.
    """

    def __init__(
        self,
        job: Path,
        log_file: Path,
        environment: Mapping[str, str],
        *,
        under: Sequence[str] = (),
        before: Callable[[], None] | None = None,
    ) -> None:
        with log_file.open("ab") as output:
            self._process = subprocess.Popen(
                [*under, sys.executable, "-m", "mtlbench", "run-cell", str(job)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**environment, "MTLBENCH_DRIVER": str(os.getpid()), "PYTHONFAULTHANDLER": "1"},
                start_new_session=True,
                preexec_fn=before,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def poll(self) -> int | None:
        return self._process.poll()
