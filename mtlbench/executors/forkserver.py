"""Starts cells without paying for imports each time: a server process imports once and forks a process per
cell.

The driver writes one JSON object a line to the server's standard input, and reads one a line from its
standard output:

    {"start": NAME, "job": FILE, "log": FILE, "environment": {...}}      {"signal": NAME, "number": N}
    {"ended": NAME, "exit_code": N}

A forked process runs the cell exactly as `mtlbench run-cell FILE` does, in a session of its own. When the
driver goes, the server's input ends, and it asks its cells to stop; when the server goes, they notice that
their parent has changed.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any


class ForkServer:
    """The driver's end."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "mtlbench.executors.forkserver"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)
        self._lines = _Lines(self._process.stdout.fileno())
        self._exit_codes: dict[str, int] = {}

    def start(self, name: str, job: Path, log: Path, environment: dict[str, str]) -> Forked:
        """Fork a process for a job file; `name` must not have been used before."""
        self._send({"start": name, "job": str(job), "log": str(log), "environment": environment})
        return Forked(self, name)

    def signal(self, name: str, number: int) -> None:
        self._send({"signal": name, "number": number})

    def exit_code(self, name: str) -> int | None:
        """None while the process lives; -9 for all that are left when the server itself died."""
        for line in self._lines.read():
            message = json.loads(line)
            self._exit_codes[message["ended"]] = message["exit_code"]
        if name not in self._exit_codes and self._process.poll() is not None:
            return -signal.SIGKILL
        return self._exit_codes.get(name)

    def close(self) -> None:
        """End the server; its cells, if any are left, are asked to stop."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def _send(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # the server died: `exit_code` tells
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()


class Forked:
    """One cell's process, with what the executor needs of `subprocess.Popen`."""

    def __init__(self, server: ForkServer, name: str) -> None:
        self._server = server
        self._name = name

    def poll(self) -> int | None:
        return self._server.exit_code(self._name)

    def terminate(self) -> None:
        self._server.signal(self._name, signal.SIGTERM)

    def kill(self) -> None:
        self._server.signal(self._name, signal.SIGKILL)


class _Lines:
    """Whole lines from a file descriptor that may have none."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._rest = b""
        self.ended = False

    def read(self) -> list[bytes]:
        """What has arrived since the last call."""
        while select.select([self._descriptor], [], [], 0)[0]:
            data = os.read(self._descriptor, 65536)
            if not data:
                self.ended = True
                break
            self._rest += data
        *lines, self._rest = self._rest.split(b"\n")
        return lines


def serve() -> None:
    """The server's end: until the input ends, start, signal and reap."""
    import timm  # noqa: F401  heavy, and needed by most cells

    from mtlbench.cell import run_cell  # noqa: F401

    requests = _Lines(sys.stdin.fileno())
    names: dict[int, str] = {}
    while not requests.ended or names:
        select.select([] if requests.ended else [sys.stdin.fileno()], [], [], 0.05)
        for line in requests.read():
            request = json.loads(line)
            if "start" in request:
                names[_fork(request)] = request["start"]
            else:
                _signal(names, request["signal"], request["number"])
        if requests.ended:
            _signal(names, None, signal.SIGTERM)
        _reap(names)


def _fork(request: dict[str, Any]) -> int:
    server = os.getpid()
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        os.setsid()
        log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        os.environ.update(request["environment"], MTLBENCH_DRIVER=str(server))
        sys.argv = ["mtlbench", "run-cell", request["job"]]
        from mtlbench.cli import run_from_arguments

        code = run_from_arguments()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # never back into the server's loop


def _signal(names: dict[int, str], name: str | None, number: int) -> None:
    """Send a signal to the process of that name, or to all."""
    for process, known in names.items():
        if name in (None, known):
            os.kill(process, number)


def _reap(names: dict[int, str]) -> None:
    for process in list(names):
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            message = {"ended": names.pop(process), "exit_code": os.waitstatus_to_exitcode(status)}
            _tell(message)


def _tell(message: dict[str, Any]) -> None:
    with suppress(BrokenPipeError):  # the driver is gone; the cells are being stopped
        os.write(sys.stdout.fileno(), json.dumps(message).encode() + b"\n")


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    serve()
