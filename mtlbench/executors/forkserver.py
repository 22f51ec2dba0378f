"""Starts cells without paying for imports each time: a server process imports once and forks a process per
cell.

The driver writes one JSON object a line to the server's standard input, and reads one a line from its
standard output:

    {"start": NAME, "job": FILE, "log": FILE, "environment": {...}}
    {"started": NAME, "pid": N}      {"ended": NAME, "exit_code": N}

A forked process runs the cell exactly as `mtlbench run-cell FILE` does, in a session of its own. When the
driver goes, the server's input ends, and it asks its cells to stop; when the server goes, they notice that
their parent has changed.
"""

from __future__ import annotations

import json
import logging
import os
import select
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from mtlbench.executors import sessions
from mtlbench.executors.supervised import CellProcess

log = logging.getLogger(__name__)


class ForkServer:
    """The driver's end."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "mtlbench.executors.forked"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        self._lines = Lines(self._process.stdout.fileno())
        self._count = 0
        self.pids: dict[str, int] = {}
        self.exit_codes: dict[str, int] = {}

    def start(self, job: Path, log: Path, environment: dict[str, str]) -> Forked:
        """Fork a process for a job file."""
        self._count += 1
        name = str(self._count)
        request = {"start": name, "job": str(job), "log": str(log), "environment": environment}
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # the server died: its processes' `poll` tells
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        return Forked(self, name)

    def read(self) -> None:
        """Take in what the server has told so far."""
        for line in self._lines.read():
            message = json.loads(line)
            if "started" in message:
                self.pids[message["started"]] = message["pid"]
            else:
                self.exit_codes[message["ended"]] = message["exit_code"]

    def wait(self, seconds: float) -> None:
        """Until the server tells something, at most so long."""
        select.select([] if self._lines.ended else [self._lines.descriptor], [], [], seconds)

    def died(self) -> bool:
        return self._process.poll() is not None

    def kill(self) -> None:
        self._process.kill()

    def close(self) -> None:
        """End the server; its cells, if any are left, are asked to stop."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()
        self.read()
        self._lines.ended = True
        self._process.stdout.close()


def living(server: ForkServer | None, environment: dict[str, str]) -> ForkServer:
    """The server, or one with this environment in place of none or of one that died."""
    if server is not None and not server.died():
        return server
    if server is not None:
        log.warning("the process that starts cells died; its cells stop, and a new one takes its place")
        server.close()
    return ForkServer(environment)


class Forked(CellProcess):
    """One cell's process. It outlives its server for as long as it takes to write a checkpoint."""

    def __init__(self, server: ForkServer, name: str) -> None:
        self._server = server
        self._name = name
        self._pending: signal.Signals | None = None

    @property
    def pid(self) -> int | None:
        return self._server.pids.get(self._name)

    def poll(self) -> int | None:
        """As far as the server was read; -9 where it died, and nobody knows."""
        if self._pending is not None and self.pid is not None:
            super().signal(self._pending)
            self._pending = None
        code = self._server.exit_codes.get(self._name)
        if code is None and self._server.died() and not (self.pid and sessions.members(self.pid)):
            return -signal.SIGKILL
        return code

    def signal(self, number: signal.Signals) -> None:
        """As soon as it is forked."""
        if self.pid is None:
            self._pending = number
        super().signal(number)

    def kill(self) -> None:
        if self.pid is None:  # a server that does not answer
            self._server.kill()
        super().kill()


class Lines:
    """Whole lines from a file descriptor that may have none."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.ended = False
        self._rest = b""

    def read(self) -> list[bytes]:
        """What has arrived since the last call."""
        while not self.ended and select.select([self.descriptor], [], [], 0)[0]:
            data = os.read(self.descriptor, 65536)
            self.ended = not data
            self._rest += data
        *lines, self._rest = self._rest.split(b"\n")
        return lines


def tell(message: dict[str, Any]) -> None:
    """From the server to the driver."""
    with suppress(BrokenPipeError):  # the driver is gone; the cells are being stopped
        os.write(sys.stdout.fileno(), json.dumps(message).encode() + b"\n")
