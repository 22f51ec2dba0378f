"""Who gets which GPUs and cores, and who starts next: no processes."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtlbench.errors import MtlbenchError
from mtlbench.executors.slots import Share, Slots
from mtlbench.executors.waiting import PATIENCE, Waiting
from mtlbench.folder import Job
from mtlbench.spec import Cell, Choice, Execution

CELL = Cell(
    dataset=Choice(name="d"),
    tasks=("depth",),
    backbone=Choice(name="b"),
    method=Choice(name="m"),
    balancer=Choice(name="e"),
)

executions = st.builds(
    Execution,
    devices=st.sampled_from([1, 1, 2, 3]),
    gpu=st.sampled_from([1.0, 0.5, 0.33, 1 / 3, 0.25, 0.7]),
    threads=st.sampled_from([None, None, 1, 2, 5, 40]),
)
machines = st.tuples(
    st.sampled_from([None, 1, 2, 5]), st.integers(1, 12), st.lists(st.sampled_from("abcd"), unique=True)
)


def job(seed: int, execution: Execution) -> Job:
    return Job(cell=CELL.model_copy(update={"seed": seed}), folder=Path("x"), execution=execution)


def taken(slots: Slots, count: int, **execution: Any) -> list[Share]:
    """As many shares as there is room for, at most `count`."""
    shares = [slots.take(Execution(**execution)) for _ in range(count)]
    return [share for share in shares if share is not None]


def use_of_gpus(shares: list[Share]) -> dict[str, float]:
    return {gpu: float(sum(s.part for s in shares if gpu in s.gpus)) for s in shares for gpu in s.gpus}


@given(machines, st.lists(executions, max_size=25), st.randoms(use_true_random=False))
def test_nothing_is_used_twice_and_everything_runs(
    machine: tuple[int | None, int, list[str]], wanted: list[Execution], random: Any
) -> None:
    most, cores, gpus = machine
    slots, waiting = Slots(jobs=most, cores=cores, gpus=gpus), Waiting()
    wanted = [execution for execution in wanted if not gpus or execution.devices <= len(gpus)]
    for seed, execution in enumerate(wanted):
        waiting.append(job(seed, execution))
    running: list[Share] = []
    ran = []
    while len(waiting) or running:
        while (found := waiting.start_next(slots)) is not None:
            ran.append(found[0].cell.seed)
            running.append(found[1])
        assert running, "something waits, and nothing runs"
        assert sum(share.cores for share in running) <= cores
        assert most is None or len(running) <= most
        assert all(use <= 1 for use in use_of_gpus(running).values())
        assert all(set(share.gpus) <= set(gpus) for share in running)
        slots.give_back(running.pop(random.randrange(len(running))))
    assert sorted(ran) == list(range(len(wanted)))


@given(machines, st.lists(executions, max_size=10))
def test_what_is_given_back_can_be_taken_again(
    machine: tuple[int | None, int, list[str]], wanted: list[Execution]
) -> None:
    most, cores, gpus = machine
    slots = Slots(jobs=most, cores=cores, gpus=gpus)
    shares = [share for share in map(slots.take, wanted) if share is not None]
    for share in shares:
        slots.give_back(share)
    again = Slots(jobs=most, cores=cores, gpus=gpus)
    assert list(map(slots.take, wanted)) == list(map(again.take, wanted))


def test_each_cell_has_a_gpu_of_its_own() -> None:
    shares = taken(Slots(jobs=None, cores=8, gpus=["0", "1"]), 5)
    assert [share.gpus for share in shares] == [("0",), ("1",)]
    assert [share.threads for share in shares] == [4, 4]


def test_halves_fill_one_gpu_before_the_next() -> None:
    slots = Slots(jobs=None, cores=8, gpus=["0", "1", "2"])
    halves = taken(slots, 3, gpu=0.5)
    assert [share.gpus for share in halves] == [("0",), ("0",), ("1",)]
    assert taken(slots, 2)[0].gpus == ("2",)
    assert [share.gpus for share in taken(slots, 2, gpu=0.5)] == [("1",)]


def test_three_thirds_are_one() -> None:
    assert len(taken(Slots(jobs=None, cores=8, gpus=["0"]), 5, gpu=1 / 3)) == 3
    assert len(taken(Slots(jobs=None, cores=8, gpus=["0"]), 9, gpu=0.2)) == 5


def test_several_devices_are_whole_gpus() -> None:
    slots = Slots(jobs=None, cores=16, gpus=["0", "1", "2", "3"])
    (half,) = taken(slots, 1, gpu=0.5)
    (pair,) = taken(slots, 1, devices=2, gpu=0.5)
    assert half.gpus == ("0",)
    assert pair.gpus == ("1", "2")
    assert not taken(slots, 1, devices=2)


@pytest.mark.parametrize(
    ("jobs", "cores", "gpus", "execution", "threads", "together"),
    [
        (None, 8, 0, {}, 1, 8),
        (2, 8, 0, {}, 4, 2),
        (2, 8, 0, {"gpu": 0.5}, 4, 2),  # without GPUs there are no parts of them
        (None, 8, 0, {"devices": 2}, 1, 4),
        (1, 8, 0, {"devices": 2}, 4, 1),
        (2, 8, 0, {"devices": 2}, 2, 2),
        (3, 2, 0, {"devices": 4}, 1, 1),  # too many processes for the machine: alone
        (4, 8, 0, {"threads": 3}, 3, 2),
        (2, 8, 0, {"threads": 40}, 40, 1),
        (None, 16, 4, {}, 4, 4),
        (1, 16, 4, {}, 16, 1),
        (None, 16, 4, {"gpu": 0.5}, 2, 8),
        (None, 16, 4, {"devices": 4}, 4, 1),
        (None, 16, 4, {"devices": 2}, 4, 2),
    ],
)
def test_threads_and_cells_at_a_time(
    jobs: int | None, cores: int, gpus: int, execution: dict[str, Any], threads: int, together: int
) -> None:
    shares = taken(Slots(jobs=jobs, cores=cores, gpus=list(map(str, range(gpus)))), 20, **execution)
    assert {share.threads for share in shares} == {threads}
    assert len(shares) == together


def test_more_devices_than_gpus_are_refused() -> None:
    slots = Slots(jobs=None, cores=8, gpus=["0", "1"])
    with pytest.raises(MtlbenchError, match="must be at most the number of GPUs, got 3 of 2"):
        slots.check(Execution(devices=3))
    slots.check(Execution(devices=2))
    Slots(jobs=None, cores=1, gpus=[]).check(Execution(devices=3))


def test_a_large_job_is_passed_by_small_ones_for_a_while_only() -> None:
    slots, waiting = Slots(jobs=None, cores=4, gpus=[]), Waiting()
    small, large = Execution(threads=1), Execution(threads=4)
    waiting.append(job(0, small))
    waiting.append(job(1, large))
    for seed in range(2, 40):
        waiting.append(job(seed, small))
    running: list[Share] = []
    order = []
    while len(waiting):
        while (found := waiting.start_next(slots)) is not None:
            order.append(found[0].cell.seed)
            running.append(found[1])
        slots.give_back(running.pop(0))
    assert order[0] == 0
    assert order.index(1) == PATIENCE + 1
    assert [seed for seed in order if seed != 1] == [0, *range(2, 40)]


def test_those_who_need_the_same_start_in_order() -> None:
    slots, waiting = Slots(jobs=1, cores=4, gpus=[]), Waiting()
    for seed in range(5):
        waiting.append(job(seed, Execution(threads=1 + seed % 2)))
    order = []
    while (found := waiting.start_next(slots)) is not None:
        order.append(found[0].cell.seed)
        slots.give_back(found[1])
    assert order == [0, 1, 2, 3, 4]
