"""Slurm, with a fake of its commands and stubs in place of cells."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

from mtlbench.errors import MtlbenchError
from mtlbench.executors.base import Event
from mtlbench.executors.slurm import SlurmExecutor
from mtlbench.folder import Job
from mtlbench.spec import Cell, Choice, Execution

pytest.importorskip("submitit")
FAKES = Path(__file__).parents[1] / "fake_slurm"
sys.path.insert(0, str(FAKES))
from fake import Cluster  # noqa: E402

TIMEOUT = 60
Executors = Callable[..., SlurmExecutor]


@pytest.fixture(autouse=True)
def _stub_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent / "stub_cell"))


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """The fake commands come first on the PATH."""
    folder = tmp_path / "cluster"
    folder.mkdir()
    monkeypatch.setenv("FAKE_SLURM", str(folder))
    monkeypatch.setenv("PATH", f"{FAKES}{os.pathsep}{os.environ['PATH']}")
    found = Cluster(folder)
    yield found
    found.stop()


class Jobs:
    """Stub cells, by their seeds."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def make(self, seed: int, *, execution: Execution | None = None, **does: Any) -> Job:
        cell = Cell(
            dataset=Choice(name="tiny"),
            tasks=("depth",),
            backbone=Choice(name="tiny"),
            method=Choice(name="stub", options={"steps": 3, **does}),
            balancer=Choice(name="equal"),
            seed=seed,
        )
        return Job(cell=cell, folder=self.folder / cell.id, execution=execution or Execution())

    def steps(self, job: Job) -> list[str]:
        file = job.folder / "history.jsonl"
        return file.read_text().splitlines() if file.exists() else []


@pytest.fixture
def jobs(tmp_path: Path) -> Jobs:
    return Jobs(tmp_path / "cells")


@pytest.fixture
def executors(tmp_path: Path) -> Iterator[Executors]:
    """Makes executors on one folder."""
    made: list[SlurmExecutor] = []

    def make(cluster: Literal["slurm", "local"] = "slurm", **given: Any) -> SlurmExecutor:
        parameters = {"time": 10, "gpus_per_node": 0, **given}
        folder = tmp_path / "slurm"
        made.append(
            SlurmExecutor(folder, parameters=parameters, cluster=cluster, ask_every=0.5, patience=1.0)
        )
        return made[-1]

    yield make
    for executor in made:
        executor.close()


def poll_until(executor: SlurmExecutor, done: Callable[[], bool]) -> list[Event]:
    events: list[Event] = []
    deadline = time.monotonic() + TIMEOUT
    while not done():
        assert time.monotonic() < deadline, events
        events += executor.poll()
        time.sleep(0.02)
    return events


def finished(events: list[Event]) -> dict[str, Event]:
    """Cell -> its end; each cell has one."""
    ends = [event for event in events if event.kind == "finished"]
    assert len({event.cell for event in ends}) == len(ends)
    return {event.cell: event for event in ends}


@pytest.mark.filterwarnings(
    "ignore:subprocess:ResourceWarning"
)  # submitit's own outlive their outcomes a bit
def test_siblings_of_a_killed_cell_finish_under_submitits_own_cluster(
    executors: Executors, jobs: Jobs
) -> None:
    executor = executors("local")
    made = [jobs.make(0), jobs.make(1, kill=2), jobs.make(2)]
    for job in made:
        executor.submit(job)
    events = poll_until(executor, executor.idle)
    codes = {cell: event.exit_code for cell, event in finished(events).items()}
    assert codes == dict(zip([job.cell.id for job in made], (0, -signal.SIGKILL, 0), strict=True))
    assert {event.cell for event in events if event.kind == "started"} == set(codes)


def test_cells_that_need_the_same_make_an_array(executors: Executors, cluster: Cluster, jobs: Jobs) -> None:
    large = Execution(memory_gb=3, threads=2)
    made = [jobs.make(i, execution=large if i == 2 else None) for i in range(3)]
    executor = executors(array_parallelism=1, partition="gpu")
    for job in made:
        executor.submit(job)
    ends = finished(poll_until(executor, executor.idle))
    assert [ends[job.cell.id].exit_code for job in made] == [0, 0, 0]
    with cluster.tasks() as tasks:
        assert list(tasks) == ["101_0", "101_1", "102"]
        assert tasks["101_0"]["options"]["array"] == "0-1%1"
        assert tasks["102"]["options"].items() >= {"mem": "4GB", "cpus-per-task": "2"}.items()
        assert {task["options"]["partition"] for task in tasks.values()} == {"gpu"}
    environments = [(job.folder / "environment.json").read_text() for job in made]
    assert environments[0] == '{"OMP_NUM_THREADS": "1", "SLURM_NTASKS": null}'
    assert environments[2] == '{"OMP_NUM_THREADS": "2", "SLURM_NTASKS": null}'


def test_a_preempted_cell_goes_on_in_the_same_job(executors: Executors, cluster: Cluster, jobs: Jobs) -> None:
    job = jobs.make(0, steps=12, seconds=0.1)
    executor = executors()
    executor.submit(job)
    events = poll_until(executor, lambda: len(jobs.steps(job)) > 2)
    cluster.preempt("101")
    events += poll_until(executor, executor.idle)
    assert finished(events)[job.cell.id] == Event(job.cell.id, "finished", 0)
    assert jobs.steps(job) == [f'{{"step": {i}}}' for i in range(1, 13)]
    with cluster.tasks() as tasks:
        assert tasks["101"]["runs"] == 2


@pytest.mark.parametrize("accounts", [True, False], ids=["sacct", "squeue"])
def test_what_slurm_ends_without_a_word(
    executors: Executors, cluster: Cluster, jobs: Jobs, accounts: bool
) -> None:
    if not accounts:
        (cluster.folder / "no_accounts").touch()
    kinds = {"NODE_FAIL": "lost", "OUT_OF_MEMORY": "out_of_memory", "TIMEOUT": "timeout", "CANCELLED": "lost"}
    made = [jobs.make(i, steps=1000, seconds=0.1) for i in range(len(kinds))]
    sibling = jobs.make(9, steps=3)
    executor = executors()
    for job in [*made, sibling]:
        executor.submit(job)
    events = poll_until(executor, lambda: all(jobs.steps(job) for job in made))
    for index, state in enumerate(kinds):
        cluster.end(f"101_{index}", state)
    events += poll_until(executor, executor.idle)
    ends = finished(events)
    assert ends.pop(sibling.cell.id).exit_code == 0
    found = [ends[job.cell.id].failure for job in made]
    assert [failure and failure.kind for failure in found] == list(kinds.values())
    assert found[0] is not None
    assert found[0].message == "Slurm job 101_0: it ended as NODE_FAIL"
    cancelled = {name for call in cluster.calls("scancel") for name in call if name.startswith("101")}
    assert cancelled == {f"101_{i}" for i in range(len(kinds))}, "none may come back by itself"


def test_cancel_lets_cells_write_checkpoints(executors: Executors, cluster: Cluster, jobs: Jobs) -> None:
    made = [jobs.make(i, steps=1000, seconds=0.1) for i in range(2)]
    executor = executors(array_parallelism=1)
    for job in made:
        executor.submit(job)
    poll_until(executor, lambda: len(jobs.steps(made[0])) > 1)
    executor.cancel()
    assert executor.idle()
    assert not jobs.steps(made[1])
    steps = jobs.steps(made[0])
    assert cluster.states()["101_1"] == "CANCELLED"
    assert not cluster.calls("scontrol"), "nothing goes back into the queue"
    time.sleep(0.3)
    assert jobs.steps(made[0]) == steps


def test_a_new_driver_takes_over_the_jobs_of_one_that_died(
    executors: Executors, cluster: Cluster, jobs: Jobs
) -> None:
    made = [jobs.make(0, steps=12, seconds=0.2), jobs.make(1, steps=30, seconds=0.1)]
    first = executors()
    for job in made:
        first.submit(job)
    poll_until(first, lambda: all(jobs.steps(job) for job in made))
    cluster.fail_node("101_1")

    second = executors()
    for job in made:
        second.submit(job)
    ends = finished(poll_until(second, second.idle))
    assert [ends[job.cell.id].exit_code for job in made] == [0, 0]
    assert [len(jobs.steps(job)) for job in made] == [12, 30]
    assert len(cluster.calls("sbatch")) == 2, "the job that still ran was not submitted again"


def test_a_refused_submission_says_why(executors: Executors, cluster: Cluster, jobs: Jobs) -> None:
    executor = executors(partition="closed")
    executor.submit(jobs.make(0))
    with pytest.raises(MtlbenchError, match="invalid partition specified: closed"):
        executor.poll()
    assert executor.idle()
