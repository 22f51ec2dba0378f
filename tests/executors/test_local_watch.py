"""Limits of cells and the end of their processes, on processes that are as small as can be."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import psutil
import pytest

from mtlbench.executors import sessions, supervised
from mtlbench.executors.base import Event
from mtlbench.executors.slots import Share
from mtlbench.executors.supervised import CellProcess, Supervised
from mtlbench.executors.watch import Watch
from mtlbench.folder import Failure, Job, RunFolder
from mtlbench.spec import Cell, Choice, Execution

HOLD = "held = bytearray(b'x') * {size}; print('ready', flush=True)\nimport time; time.sleep(600)"
WITH_CHILD = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-S", "-c", {code!r}], stdout=subprocess.PIPE)
child.stdout.readline()
"""
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"


class Small(CellProcess):
    """Runs a line of Python in place of a cell; ready when it has said so."""

    def __init__(self, code: str) -> None:
        command = [sys.executable, "-S", "-c", code]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"ready\n"

    @property
    def pid(self) -> int:
        return self.process.pid

    def poll(self) -> int | None:
        return self.process.poll()


@pytest.fixture
def start() -> Iterator[Any]:
    """Starts processes that are gone after the test."""
    started: list[Small] = []

    def small(code: str) -> Small:
        started.append(Small(code))
        return started[-1]

    yield small
    for process in started:
        process.kill()
        process.process.communicate()


class Clock:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def job(folder: Path, **execution: Any) -> Job:
    choice = Choice(name="x")
    cell = Cell(dataset=choice, tasks=("depth",), backbone=choice, method=choice, balancer=choice)
    return Job(cell=cell, folder=folder, execution=Execution(**execution))


def until_finished(running: Supervised) -> Event:
    deadline = time.monotonic() + 60
    while (event := running.poll()) is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return event


def watch(folder: Path, clock: Clock, **execution: Any) -> Watch:
    return Watch(RunFolder(folder), Execution(**execution), clock)


def kind(failure: Failure | None) -> str | None:
    return failure.kind if failure else None


def test_a_cell_that_shows_life_is_not_stuck_whatever_the_clock_on_the_wall_says(tmp_path: Path) -> None:
    clock = Clock()
    watching = watch(tmp_path, clock, stuck_after=5)
    alive = tmp_path / "alive"
    for moment in (10**9, 2 * 10**9, 5 * 10**8):  # the clock on the wall jumps
        clock.seconds += 290
        alive.touch()
        os.utime(alive, (moment, moment))
        assert watching.look(os.getpid()) is None
    clock.seconds += 290
    assert watching.look(os.getpid()) is None
    clock.seconds += 20
    assert kind(watching.look(os.getpid())) == "stuck"


def test_a_cell_that_never_shows_life_is_stuck(tmp_path: Path) -> None:
    clock = Clock()
    watching = watch(tmp_path, clock, stuck_after=5)
    clock.seconds += 1000
    assert watching.look(None) is None, "its process is not even there"
    clock.seconds += 290
    assert watching.look(os.getpid()) is None
    clock.seconds += 20
    assert kind(watching.look(os.getpid())) == "stuck"


def test_time_limit(tmp_path: Path) -> None:
    clock = Clock()
    watching = watch(tmp_path, clock, time_limit=2)
    clock.seconds += 119
    assert watching.look(os.getpid()) is None
    clock.seconds += 2
    failure = watching.look(os.getpid())
    assert kind(failure) == "timeout"
    assert failure is not None
    assert "`execution.time_limit`: 2 minutes" in failure.message


def test_looks_are_rare(tmp_path: Path) -> None:
    clock = Clock()
    watching = watch(tmp_path, clock, time_limit=0.001)
    clock.seconds += 0.5
    assert watching.look(os.getpid()) is None
    clock.seconds += 0.6
    assert kind(watching.look(os.getpid())) == "timeout"


def test_memory_is_that_of_all_processes_of_the_cell(tmp_path: Path, start: Any) -> None:
    child = HOLD.format(size=100_000_000)
    process = start(WITH_CHILD.format(code=child) + HOLD.format(size=50_000_000))
    size = sessions.resident_bytes(process.pid, enough=0)
    assert 150e6 < size < 220e6
    for limit, expected in ((0.14, "out_of_memory"), (0.3, None)):
        clock = Clock()
        watching = watch(tmp_path, clock, memory_gb=limit)
        clock.seconds += 2
        assert kind(watching.look(process.pid)) == expected


@pytest.mark.skipif(sys.platform != "linux", reason="pages are divided among processes on Linux")
def test_shared_pages_are_counted_once(start: Any) -> None:
    code = "import os, time\nheld = bytearray(b'x') * 100_000_000\nfirst = os.getpid()\n"
    fork_twice = (
        "os.fork() or os.fork()\nif os.getpid() == first: print('ready', flush=True)\ntime.sleep(600)"
    )
    process = start(code + fork_twice)
    deadline = time.monotonic() + 60
    while len(sessions.members(process.pid)) < 3:
        assert time.monotonic() < deadline
    assert sessions.resident_bytes(process.pid, enough=1e12) > 300e6
    assert sessions.resident_bytes(process.pid, enough=150e6) < 150e6


def test_one_that_does_not_stop_is_killed_with_all_that_it_started(
    tmp_path: Path, start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervised, "GRACE_SECONDS", 0.2)
    process = start(STUBBORN + WITH_CHILD.format(code=STUBBORN + HOLD.format(size=1)) + HOLD.format(size=1))
    whole = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    assert len(whole) == 2
    running = Supervised(job(tmp_path), process, Share((), Fraction(1), 1, 1))
    assert running.poll() is None
    running.stop()
    finished = until_finished(running)
    assert (finished.kind, finished.exit_code, finished.failure) == ("finished", -9, None)
    assert not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in whole)


def test_what_a_cell_leaves_behind_ends_before_it_counts_as_finished(tmp_path: Path, start: Any) -> None:
    process = start(WITH_CHILD.format(code=HOLD.format(size=1)) + "print('ready', flush=True); sys.exit(3)")
    finished = until_finished(Supervised(job(tmp_path), process, Share((), Fraction(1), 1, 1)))
    assert finished.exit_code == 3
    assert not sessions.members(process.pid)
