"""The driver, with an executor that only pretends to run cells."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from cells_factory import make_cell, make_result

from mtlbench.driver import Driver, Progress
from mtlbench.executors.base import Event
from mtlbench.folder import Failure, Job, RunFolder
from mtlbench.spec import Cell, Execution
from mtlbench.store import Runs

Act = Callable[[Job], Event]


class Pretender:
    """Starts one cell a poll, and ends it in the next as it is told to."""

    def __init__(self, act: Act) -> None:
        self.act = act
        self.waiting: list[Job] = []
        self.running: list[Job] = []
        self.started: list[str] = []
        self.jobs: list[Job] = []

    def room(self) -> int:
        return 1

    def submit(self, job: Job) -> None:
        self.waiting.append(job)
        self.jobs.append(job)

    def poll(self) -> list[Event]:
        events = [self.act(job) for job in self.running]
        self.running = [self.waiting.pop(0)] if self.waiting else []
        for job in self.running:
            RunFolder(job.folder).create(job)
            self.started.append(job.cell.id)
        return events + [Event(job.cell.id, "started") for job in self.running]

    def wait(self, seconds: float) -> None:
        pass

    def idle(self) -> bool:
        return not self.waiting and not self.running

    def cancel(self) -> None:
        self.waiting, self.running = [], []

    def close(self) -> None:
        pass


def succeed(job: Job) -> Event:
    RunFolder(job.folder).finish(make_result(job.cell))
    return Event(job.cell.id, "finished", 0)


def fail(job: Job) -> Event:
    RunFolder(job.folder).fail(Failure(kind="diverged", message="nan"))
    return Event(job.cell.id, "finished", 1)


def drive(
    tmp_path: Path, cells: list[Cell], act: Act, **execution: object
) -> tuple[Progress, Pretender, Runs]:
    runs, executor = Runs(tmp_path / "runs"), Pretender(act)
    driver = Driver(cells, executor, runs, Execution(**execution), ())
    polls = 0

    def watch(progress: Progress) -> None:
        nonlocal polls
        polls += 1
        assert polls < 500, progress

    return driver.run(watch), executor, runs


def test_a_cell_starts_when_the_one_that_it_starts_from_is_done(tmp_path: Path) -> None:
    base = make_cell("depth")
    child = make_cell("depth", "semseg", start=base)
    last = make_cell("depth", "semseg", "edge", start=child)
    other = make_cell("edge")
    progress, executor, _ = drive(tmp_path, [last, base, child, other], succeed)
    assert set(progress.states.values()) == {"done"}
    assert Counter(executor.started) == dict.fromkeys([c.id for c in (base, child, last, other)], 1)
    order = [cell for cell in executor.started if cell != other.id]
    assert order == [base.id, child.id, last.id]


def test_a_base_that_was_done_before_is_not_run_again(tmp_path: Path) -> None:
    base = make_cell("depth")
    drive(tmp_path, [base], succeed)
    progress, executor, _ = drive(tmp_path, [base, make_cell("depth", "edge", start=base)], succeed)
    assert executor.started == [make_cell("depth", "edge", start=base).id]
    assert progress.count("done") == 2


def test_a_failed_base_blocks_what_starts_from_it_with_the_reason(tmp_path: Path) -> None:
    base = make_cell("depth")
    child = make_cell("depth", "semseg", start=base)
    last = make_cell("depth", "semseg", "edge", start=child)

    def act(job: Job) -> Event:
        if job.cell == base:
            RunFolder(job.folder).fail(Failure(kind="diverged", message="nan"))
            return Event(job.cell.id, "finished", 1)
        return succeed(job)

    progress, executor, runs = drive(tmp_path, [base, child, last, make_cell("edge")], act)
    assert progress.states[base.id] == "failed"
    assert progress.reasons[base.id] == "diverged: nan"
    assert progress.states[child.id] == progress.states[last.id] == "blocked"
    assert base.id in progress.reasons[child.id]
    assert executor.started == [base.id, make_cell("edge").id]
    assert runs.folder(child).job.exists(), "so that a rerun of the base finds it"


def test_a_pruned_cell_has_ended_but_not_failed(tmp_path: Path) -> None:
    base = make_cell("depth")
    child = make_cell("depth", "semseg", start=base)

    def act(job: Job) -> Event:
        RunFolder(job.folder).ask_to_prune()
        RunFolder(job.folder).fail(Failure(kind="pruned", message="after 5 of 10 steps"))
        return Event(job.cell.id, "finished", 1)

    progress, executor, runs = drive(tmp_path, [base, child], act)
    assert progress.states == {base.id: "pruned", child.id: "blocked"}
    assert progress.reasons[base.id] == "pruned: after 5 of 10 steps"
    assert executor.started == [base.id]
    assert runs.folder(base).state() == "pruned"


def test_a_lost_cell_that_is_to_be_pruned_is_told_so_again(tmp_path: Path) -> None:
    def act(job: Job) -> Event:
        folder = RunFolder(job.folder)
        if folder.asked_to_prune():
            folder.fail(Failure(kind="pruned", message=""))
        else:
            folder.ask_to_prune()
            folder.fail(Failure(kind="lost", message="its machine went"))
        return Event(job.cell.id, "finished", 1)

    progress, executor, _ = drive(tmp_path, [make_cell()], act)
    assert list(progress.states.values()) == ["pruned"]
    assert len(executor.started) == 2


@pytest.mark.parametrize("kind", ["killed", "lost", "stuck"])
def test_a_lost_cell_is_tried_again_until_it_gets_no_further(tmp_path: Path, kind: str) -> None:
    cell = make_cell()

    def act(job: Job) -> Event:
        return Event(job.cell.id, "finished", None, Failure(kind=kind, message="gone"))  # type: ignore[arg-type]

    progress, executor, runs = drive(tmp_path, [cell], act, retries=2)
    assert len(executor.started) == 3
    assert progress.states[cell.id] == "failed"
    failure = runs.folder(cell).failure()
    assert failure is not None
    assert failure.kind == kind


def test_tries_that_get_further_do_not_count(tmp_path: Path) -> None:
    cell, tries = make_cell(), 0

    def act(job: Job) -> Event:
        nonlocal tries
        tries += 1
        if tries == 6:
            return succeed(job)
        file = RunFolder(job.folder).checkpoint
        file.parent.mkdir(exist_ok=True)
        file.unlink(missing_ok=True)
        file.write_text(str(tries))
        return Event(job.cell.id, "finished", -9)

    progress, executor, runs = drive(tmp_path, [cell], act, retries=1)
    assert len(executor.started) == 6
    assert progress.states[cell.id] == "done"
    assert runs.folder(cell).failure() is None


def test_failures_of_the_cell_itself_are_not_tried_again(tmp_path: Path) -> None:
    def act(job: Job) -> Event:
        return Event(job.cell.id, "finished", None, Failure(kind="timeout", message="too long"))

    progress, executor, runs = drive(tmp_path, [make_cell()], act)
    assert len(executor.started) == 1
    assert runs.cells()[make_cell().id].state == "failed"
    assert progress.count("failed") == 1


def test_what_does_not_fit_is_tried_in_smaller_micro_batches(tmp_path: Path) -> None:
    def act(job: Job) -> Event:
        if job.cell.recipe.batch_size // (job.accumulate or 1) > 2:
            RunFolder(job.folder).fail(Failure(kind="out_of_memory", message="too big"))
            return Event(job.cell.id, "finished", 1)
        return succeed(job)

    cell = make_cell(batch_size=12)
    progress, executor, _ = drive(tmp_path, [cell], act, auto_microbatch=True, devices=2)
    assert [job.accumulate for job in executor.jobs] == [None, 2, 3, 6]
    assert progress.states[cell.id] == "done"
    progress, executor, _ = drive(tmp_path / "without", [cell], act)
    assert [job.accumulate for job in executor.jobs] == [None]
    assert progress.states[cell.id] == "failed"


class Others:
    """Claims of a store in which another driver holds some cells for a while."""

    def __init__(self, held: dict[str, int]) -> None:
        self.held = held
        self.ours: set[str] = set()

    def take(self, cells: list[str]) -> set[str]:
        for name in cells:
            self.held[name] = self.held.get(name, 0) - 1
        found = {name for name in cells if self.held[name] < 0}
        self.ours |= found
        return found

    def renew(self) -> set[str]:
        return set()

    def release(self, cells: list[str]) -> None:
        self.ours -= set(cells)


def test_cells_of_another_driver_are_left_to_it_until_it_gives_them_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mtlbench.driver.OTHERS_SECONDS", 0)
    theirs, given_up, ours = make_cell(seed=1), make_cell(seed=2), make_cell(seed=3)
    runs, executor = Runs(tmp_path / "runs"), Pretender(succeed)
    claims = Others({theirs.id: 10**9, given_up.id: 3})
    states: list[str] = []

    def watch(progress: Progress) -> None:
        states.append(progress.states[theirs.id])
        if len(states) == 20:
            runs.folder(theirs).finish(make_result(theirs))
        assert len(states) < 100

    runs.folder(theirs).create(Job(cell=theirs, folder=runs.folder(theirs).path))
    progress = Driver([theirs, given_up, ours], executor, runs, Execution(), (), claims).run(watch)  # type: ignore[arg-type]
    assert set(progress.states.values()) == {"done"}
    assert "elsewhere" in states
    assert sorted(executor.started) == sorted([given_up.id, ours.id])
    assert not claims.ours, "all are given back"


def test_further_cells_are_taken_in_while_it_runs(tmp_path: Path) -> None:
    first, base, last = make_cell(seed=1), make_cell("depth", seed=2), make_cell(seed=3)
    child = make_cell("depth", "semseg", start=base, seed=2)
    batches = [[], [first, base, child], [], [first, last], None]
    runs, executor = Runs(tmp_path / "runs"), Pretender(succeed)
    driver = Driver([first], executor, runs, Execution(), ())

    def more(progress: Progress) -> list[Cell] | None:
        return batches.pop(0) if len(batches) > 1 or progress.count("done") == 4 else []

    progress = driver.run(lambda progress: None, more=more)
    assert progress.count("done") == 4
    assert sorted(executor.started) == sorted(cell.id for cell in (first, base, child, last))


def test_what_starts_from_a_cell_that_has_failed_is_blocked_when_it_comes(tmp_path: Path) -> None:
    base = make_cell("depth")
    child = make_cell("depth", "semseg", start=base)
    runs, executor = Runs(tmp_path / "runs"), Pretender(fail)

    def more(progress: Progress) -> list[Cell] | None:
        return [child] if progress.states[base.id] == "failed" else []

    driver = Driver([base], executor, runs, Execution(), ())
    seen: list[Progress] = []
    progress = driver.run(seen.append, more=lambda p: None if child.id in p.states else more(p))
    assert progress.states == {base.id: "failed", child.id: "blocked"}


def test_cells_that_nobody_needs_any_more_are_not_started(tmp_path: Path) -> None:
    cells = [make_cell(seed=seed) for seed in range(5)]
    runs, executor = Runs(tmp_path / "runs"), Pretender(succeed)
    driver = Driver(cells, executor, runs, Execution(), ())

    def watch(progress: Progress) -> None:
        if executor.started:
            driver.withdraw({cell.id for cell in cells})

    progress = driver.run(watch)
    assert 1 <= len(executor.started) < 5
    assert list(progress.states) == executor.started


def test_every_cell_may_be_run_in_its_own_way(tmp_path: Path) -> None:
    cells = [make_cell(seed=seed) for seed in (1, 2)]
    runs, executor = Runs(tmp_path / "runs"), Pretender(succeed)

    def own(cell: Cell) -> Execution:
        return Execution(log_every=cell.seed)

    Driver(cells, executor, runs, Execution(), (), execution_of=own).run(lambda progress: None)
    assert {job.cell.seed: job.execution.log_every for job in executor.jobs} == {1: 1, 2: 2}
