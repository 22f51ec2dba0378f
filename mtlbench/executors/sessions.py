"""Sessions: a process that leads one, and all that it started, also after it is gone itself."""

from __future__ import annotations

import os
import signal
from contextlib import suppress

import psutil


def members(session: int) -> list[psutil.Process]:
    """The living processes of the session that the process of this id leads or led."""
    found = []
    for pid in psutil.pids():
        with suppress(ProcessLookupError, PermissionError, psutil.Error):
            if os.getsid(pid) == session and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                found.append(psutil.Process(pid))
    return found


def kill(session: int) -> None:
    """SIGKILL to all of them. One that is just being started may get away: look again."""
    for process in members(session):
        with suppress(psutil.Error):
            process.kill()


def signal_leader(session: int, number: signal.Signals) -> None:
    """To the leader alone: loading processes would die of a SIGTERM that lets it write a checkpoint."""
    with suppress(ProcessLookupError):
        os.kill(session, number)


def resident_bytes(session: int, enough: float) -> int:
    """Main memory of all its processes.

    At first pages that several processes share are counted in each, which is quick and too much. Only
    where that sum is more than `enough`, each page is divided among those who share it (Linux: PSS), or left
    out (elsewhere: USS).
    """
    processes = members(session)
    quick = sum(_memory(process, exact=False) for process in processes)
    return quick if quick <= enough else sum(_memory(process, exact=True) for process in processes)


def _memory(process: psutil.Process, *, exact: bool) -> int:
    try:
        if not exact:
            return int(process.memory_info().rss)
        memory = process.memory_full_info()
    except psutil.Error:  # it ended, or may not be looked into
        return 0
    return int(getattr(memory, "pss", memory.uss))
