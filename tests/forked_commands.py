"""mtlbench's commands in real processes that needn't import torch first: forked off one that has.

A command's process, and the one that starts its cells (`mtlbench.executors.forkserver`), are what they are
when they start from nothing, but for the seconds that imports take. Those that start from nothing are tested
in `tests/executors`, test_packages.py and test_tutorial.py.
"""

from __future__ import annotations

import gc
import io
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

IMPORTED = ["numba", "timm", "optuna", "seaborn", "typer", "rich.live"]
IMPORTED += ["mtlbench.cell", "mtlbench.commands", "mtlbench.reports.figures"]
NOT_INHERITED = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)
TESTS = str(Path(__file__).parent)

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(IMPORTED)


class Command:
    """`python -m mtlbench ARGUMENTS` in a folder: the part of `subprocess.Popen` that tests use.

    Args:
        together: errors go where the output goes.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        folder: Path,
        *,
        environment: Mapping[str, str] | None = None,
        together: bool = True,
    ) -> None:
        self._folder = Path(tempfile.mkdtemp())
        self._files = [self._folder / "output", self._folder / ("output" if together else "errors")]
        for file in self._files:
            file.touch()
        self._printed: list[str] = []
        found = dict(os.environ if environment is None else environment)
        self._process = _context.Process(target=_be, args=(list(arguments), str(folder), found, self._files))
        self._process.start()
        assert self._process.pid is not None
        self.pid: int = self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    @property
    def stdout(self) -> IO[str]:
        """What was printed so far."""
        return io.StringIO(self._files[0].read_text())

    def poll(self) -> int | None:
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What was printed: (output, errors), which are one if they went together. Raises TimeoutExpired."""
        self._process.join(timeout)
        if self._process.is_alive():
            raise subprocess.TimeoutExpired(["mtlbench"], timeout or 0)
        if not self._printed:
            self._printed = [file.read_text() for file in self._files]
            shutil.rmtree(self._folder)
        return self._printed[0], self._printed[1]

    def completed(self, timeout: float) -> subprocess.CompletedProcess[str]:
        """As `subprocess.run` returns it; killed when the time is over."""
        try:
            output, errors = self.communicate(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        assert self.returncode is not None
        return subprocess.CompletedProcess(["mtlbench"], self.returncode, output, errors)


def _be(arguments: list[str], folder: str, environment: dict[str, str], places: list[Path]) -> None:
    """In the new process."""
    gc.freeze()
    for place, target in zip(places, (1, 2), strict=True):
        file = os.open(place, os.O_WRONLY | os.O_APPEND)
        os.dup2(file, target)
        os.close(file)
    os.chdir(folder)
    sys.path[:] = [folder, *(path for path in sys.path if not path.startswith(TESTS))]
    os.environ.clear()
    os.environ.update(environment)
    spare = _Spare()

    from mtlbench.executors import forkserver

    replaced = SimpleNamespace(Popen=spare.start, PIPE=subprocess.PIPE)
    vars(forkserver)["subprocess"] = replaced
    _draw_coarsely()
    sys.argv = ["mtlbench", *arguments]
    from mtlbench.cli import main

    main()


def _draw_coarsely() -> None:
    """Figures of few pixels and plain fonts, in half the time: how they look is tested in `tests/reports`."""
    from mtlbench.reports.figures import chart, style

    chart.DPI = 20
    style.RC["pdf.fonttype"] = 3


class _Spare:
    """A process that knows nothing of the command's, and may become the server that starts its cells."""

    def __init__(self) -> None:
        requests, answers = os.pipe(), os.pipe()
        self.pid = os.fork()
        if not self.pid:
            _serve(requests[0], answers[1])
        os.close(requests[0])
        os.close(answers[1])
        self.stdin = os.fdopen(requests[1], "wb")
        self.stdout = os.fdopen(answers[0], "rb")
        self.returncode: int | None = None
        self._used = False

    def start(self, command: Sequence[str], env: dict[str, str], **options: Any) -> Any:
        """In place of `subprocess.Popen`, which starts what comes after the first."""
        if self._used:
            return subprocess.Popen(command, env=env, **options)
        self._used = True
        self.stdin.write(json.dumps(env).encode() + b"\n")
        self.stdin.flush()
        return self

    def poll(self) -> int | None:
        return self.returncode if self.returncode is not None else self._wait(os.WNOHANG)

    def wait(self) -> int | None:
        return self.returncode if self.returncode is not None else self._wait(0)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def _wait(self, options: int) -> int | None:
        ended, status = os.waitpid(self.pid, options)
        if ended:
            self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode


def _serve(requests: int, answers: int) -> None:
    """Be `python -m mtlbench.executors.forked` as soon as there is an environment for it; never returns."""
    try:
        os.setsid()
        os.dup2(requests, 0)
        os.dup2(answers, 1)
        os.closerange(3, 1024)
        sys.stdin = os.fdopen(0)
        for number in NOT_INHERITED:
            signal.signal(number, signal.SIG_DFL)
        line = b""
        while not line.endswith(b"\n"):
            got = os.read(0, 1)
            if not got:
                os._exit(0)  # no cells to start
            line += got
        os.environ.clear()
        os.environ.update(json.loads(line))
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        from mtlbench.executors import forked

        forked.serve()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(0)
