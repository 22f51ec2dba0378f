"""The server's end of `mtlbench.executors.forkserver`: starts a process per cell, and reaps it."""

from __future__ import annotations

import faulthandler
import gc
import json
import os
import select
import signal
import sys
import time
from contextlib import suppress
from typing import Any

from mtlbench.executors import sessions
from mtlbench.executors.forkserver import Lines, tell
from mtlbench.executors.supervised import GRACE_SECONDS


def serve() -> None:
    """Until the input ends and all cells are gone."""
    _import_what_cells_need()
    requests = Lines(sys.stdin.fileno())
    bell = _bell()
    names: dict[int, str] = {}
    kill_at: float | None = None
    while not requests.ended or names:
        select.select([bell] if requests.ended else [bell, requests.descriptor], [], [], 1.0)
        with suppress(BlockingIOError):
            os.read(bell, 4096)
        for line in requests.read():
            _start(json.loads(line), names)
        if requests.ended and kill_at is None:
            kill_at = time.monotonic() + GRACE_SECONDS
            for process in names:
                sessions.signal_leader(process, signal.SIGTERM)
        if kill_at is not None and time.monotonic() > kill_at:
            for process in names:
                sessions.kill(process)
        _reap(names)


def _import_what_cells_need() -> None:
    """Once for all cells; nothing of it is looked at again by their garbage collectors."""
    import numba  # noqa: F401
    import timm  # noqa: F401

    from mtlbench import cell, cli  # noqa: F401

    gc.collect()
    gc.freeze()


def _bell() -> int:
    """A descriptor that can be read when a child has ended."""
    bell, hammer = os.pipe()
    for end in (bell, hammer):
        os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(hammer, warn_on_full_buffer=False)
    return bell


def _start(request: dict[str, Any], names: dict[int, str]) -> None:
    server = os.getpid()
    child = os.fork()
    if not child:
        _become(request, server)
    names[child] = request["start"]
    tell({"started": request["start"], "pid": child})


def _become(request: dict[str, Any], server: int) -> None:
    """Be `mtlbench run-cell` from here on; never returns into the server's loop."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        faulthandler.enable()  # a stuck cell is sent SIGABRT, and tells where it stands
        os.environ.update(request["environment"], MTLBENCH_DRIVER=str(server))
        sys.argv = ["mtlbench", "run-cell", request["job"]]
        from mtlbench.cli import run_from_arguments

        code = run_from_arguments()
    finally:
        with suppress(OSError):  # the disk of the log is full
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _reap(names: dict[int, str]) -> None:
    for process in list(names):
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            tell({"ended": names.pop(process), "exit_code": os.waitstatus_to_exitcode(status)})


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    serve()
    os._exit(0)  # libraries that count their objects would complain of those that `gc.freeze` keeps
