"""Real cells in real processes, on GPUs that are only said to be there: they become CUDA_VISIBLE_DEVICES."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import accumulate
from pathlib import Path
from typing import Any

import psutil
import pytest
from conftest import TINY_PLUGINS

from mtlbench.cell import EXIT_INTERRUPTED
from mtlbench.errors import MtlbenchError
from mtlbench.executors.base import Event
from mtlbench.executors.local import LocalExecutor
from mtlbench.folder import Job, RunFolder
from mtlbench.spec import Cell, Choice, Execution, Recipe

LIMITS = TINY_PLUGINS.with_name("limits.py")
TIMEOUT = 240.0


@pytest.fixture(scope="module")
def executor() -> Iterator[LocalExecutor]:
    """One for all tests: the process that starts cells takes long to import what they need."""
    with closing(LocalExecutor(gpus=["0", "1"])) as local:
        yield local


def job(folder: Path, *, seed: int = 0, steps: int = 400, execution: dict[str, Any], **method: Any) -> Job:
    cell = Cell(
        dataset=Choice(name="tiny", options={"images": 2}),
        tasks=("depth",),
        backbone=Choice(name="tiny"),
        method=Choice(name="excessive", options=method),
        balancer=Choice(name="equal"),
        recipe=Recipe(iterations=steps, batch_size=2),
        seed=seed,
    )
    return Job(
        cell=cell,
        folder=folder / cell.id,
        execution=Execution(gallery=0, log_every=1, **{"threads": 1, **execution}),
        plugins=(str(TINY_PLUGINS), str(LIMITS)),
    )


def steps(job: Job) -> int:
    line = RunFolder(job.folder).last_line()
    return line["step"] if line else 0


def run(executor: LocalExecutor, *jobs: Job) -> list[Event]:
    """All that happens until the last of them has finished."""
    for one in jobs:
        executor.submit(one)
    return finish(executor)


def finish(executor: LocalExecutor) -> list[Event]:
    events: list[Event] = []
    deadline = time.monotonic() + TIMEOUT
    while not executor.idle():
        assert time.monotonic() < deadline, events
        executor.wait(0.2)
        events += executor.poll()
    return events


def run_until_steps(executor: LocalExecutor, count: int, *jobs: Job) -> list[Event]:
    events: list[Event] = []
    for one in jobs:
        executor.submit(one)
    deadline = time.monotonic() + TIMEOUT
    while min(map(steps, jobs)) < count:
        assert time.monotonic() < deadline, [RunFolder(one.folder).log_end() for one in jobs]
        executor.wait(0.05)
        events += executor.poll()
    return events


def test_cells_take_turns_on_the_gpus(executor: LocalExecutor, tmp_path: Path) -> None:
    note = tmp_path / "note"
    jobs = [job(tmp_path, seed=seed, steps=2, execution={}, note=str(note)) for seed in range(3)]
    events = run(executor, *jobs)
    running = accumulate(1 if event.kind == "started" else -1 for event in events)
    assert max(running) == 2
    assert [e.exit_code for e in events if e.kind == "finished"] == [0, 0, 0]
    given = [line.split() for line in note.read_text().splitlines()]
    assert {gpu for gpu, _, _, _ in given} == {"0", "1"}
    assert {(threads, variable) for _, threads, variable, _ in given} == {("1", "1")}


def test_cells_that_pass_limits_are_ended_with_all_that_they_started(
    executor: LocalExecutor, tmp_path: Path
) -> None:
    limits = {
        "stuck": {"stuck_after": 0.05},
        "large": {"memory_gb": 1.0},
        "long": {"time_limit": 0.06},
        "": {"time_limit": 5, "memory_gb": 1.0},
    }
    jobs = {
        what: job(
            tmp_path,
            steps=400 if what else 2,
            execution={"gpu": 0.5, **limit},
            what=what,
            child=str(tmp_path / f"child-{what}"),
        )
        for what, limit in limits.items()
    }
    finished = {e.cell: e for e in run(executor, *jobs.values()) if e.kind == "finished"}
    ends = {what: finished[one.cell.id] for what, one in jobs.items()}
    kinds = {what: end.failure.kind if end.failure else None for what, end in ends.items()}
    assert kinds == {"stuck": "stuck", "large": "out_of_memory", "long": "timeout", "": None}
    assert ends[""].exit_code == 0
    assert ends["long"].exit_code == EXIT_INTERRUPTED
    assert RunFolder(jobs["long"].folder).checkpoint.exists()
    assert ends["stuck"].failure is not None
    assert "in _exceed" in ends["stuck"].failure.details, "where it was stuck"
    for child in tmp_path.glob("child-*"):
        pid = int(child.read_text())
        assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE, child
    assert len(list(tmp_path.glob("child-*"))) == 4


def test_cancel_leaves_checkpoints_and_an_executor_that_can_go_on(
    executor: LocalExecutor, tmp_path: Path
) -> None:
    jobs = [job(tmp_path, seed=seed, execution={}, what="long") for seed in range(2)]
    run_until_steps(executor, 2, *jobs)
    waiting = job(tmp_path, seed=2, execution={"devices": 2})
    executor.submit(waiting)
    executor.cancel()
    ended = executor.poll()
    assert executor.idle()
    assert {event.cell: event.exit_code for event in ended} == {one.cell.id: EXIT_INTERRUPTED for one in jobs}
    assert all(RunFolder(one.folder).checkpoint.exists() for one in jobs)
    assert not waiting.folder.exists()


@pytest.mark.slow
def test_cells_outlive_the_process_that_started_them_only_to_write_checkpoints(
    executor: LocalExecutor, tmp_path: Path
) -> None:
    note = tmp_path / "note"
    one = job(tmp_path, steps=60, execution={}, what="long", note=str(note))
    run_until_steps(executor, 2, one)
    process = psutil.Process(int(note.read_text().split()[-1]))
    server = process.parent()
    assert server is not None
    assert server.pid != os.getpid()
    server.kill()
    (lost,) = finish(executor)
    assert (lost.cell, lost.exit_code) == (one.cell.id, -signal.SIGKILL)
    assert not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    assert RunFolder(one.folder).checkpoint.exists()
    assert RunFolder(one.folder).result() is None
    again = run(executor, one)
    assert [(e.kind, e.exit_code) for e in again] == [("started", None), ("finished", 0)]
    assert "going on from the checkpoint of step" in RunFolder(one.folder).log.read_text()


def test_wrong_numbers_are_refused(executor: LocalExecutor, tmp_path: Path) -> None:
    with pytest.raises(MtlbenchError, match="--jobs must be >= 1, got 0"):
        LocalExecutor(jobs=0)
    with pytest.raises(MtlbenchError, match="at most the number of GPUs, got 3 of 2"):
        executor.submit(job(tmp_path, execution={"devices": 3}))
    assert executor.idle()
