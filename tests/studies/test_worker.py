"""Trials are begun, told, pruned and taken over, on cells that only pretend to train."""

import logging
import math
from collections import Counter
from pathlib import Path

import pytest
from optuna.exceptions import StorageInternalError
from study_bench import PretendingExecutor, StudyBench, gain_of

from mtlbench.claims import Claims
from mtlbench.driver import Progress
from mtlbench.folder import Failure, Job
from mtlbench.registry import Registry
from mtlbench.spec import Cell
from mtlbench.studies.records import read_studies
from mtlbench.studies.study import Study


def states(study: Study) -> list[str]:
    return [trial.state for trial in study.record.trials]


def is_trial(cell: Cell) -> bool:
    return cell.method.name != "single_task"


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mtlbench.studies.worker.OTHERS_SECONDS", 0)
    monkeypatch.setattr("mtlbench.driver.OTHERS_SECONDS", 0)


def test_a_study_has_its_trials_with_the_defaults_first(tmp_path: Path, tiny_registry: Registry) -> None:
    bench = StudyBench(tmp_path, tiny_registry)
    study, _, executor = bench.work(6)
    assert states(study) == ["complete"] * 6
    first = study.record.trials[0]
    assert study.values_of(0) == bench.plan.defaults
    assert first.cells == [cell.id for cell in bench.plan.cells({}, 2, 0.2)]
    assert first.values == [pytest.approx(100 * gain_of(bench.plan.cells({}, 2)[0]))]
    assert all(cell.holdout == 0.2 and cell.seed == 2 for cell in executor.started)
    assert Counter(cell.id for cell in executor.started).most_common(1)[0][1] == 1
    best = study.record.trials[study.record.best[0]]
    assert best.values == max(trial.values for trial in study.record.trials)
    assert read_studies(bench.runs.root, "tiny") == [study.record]


def test_the_same_command_adds_nothing_and_more_trials_the_difference(
    tmp_path: Path, tiny_registry: Registry
) -> None:
    bench = StudyBench(tmp_path, tiny_registry)
    before, _, _ = bench.work(4)
    same, _, executor = bench.work(4)
    assert same.record == before.record
    assert not executor.started
    more, _, executor = bench.work(6)
    assert more.record.trials[:4] == before.record.trials
    assert len(more.record.trials) == 6
    assert len(executor.started) == 2


def test_what_was_begun_in_one_go_is_proposed_in_two(tmp_path: Path, tiny_registry: Registry) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    whole, _, _ = StudyBench(tmp_path / "one", tiny_registry, sampler="random").work(6)
    bench = StudyBench(tmp_path / "two", tiny_registry, sampler="random")
    for trials in (2, 6):
        parts, _, _ = bench.work(trials)
    assert [t.parameters for t in parts.record.trials] == [t.parameters for t in whole.record.trials]


def test_equal_parameters_share_their_cells(tmp_path: Path, tiny_registry: Registry) -> None:
    space = {"method.width": [4, 8]}
    bench = StudyBench(tmp_path, tiny_registry, space=space, sampler="random")
    study, _, executor = bench.work(6)
    assert states(study) == ["complete"] * 6
    values: dict[str, set[float]] = {}
    for trial in study.record.trials:
        values.setdefault(trial.cells[0], set()).update(trial.values or ())
    assert len(values) == len([cell for cell in executor.started if is_trial(cell)]) <= 2
    assert all(len(found) == 1 for found in values.values())


def test_trials_run_side_by_side_as_far_as_there_is_room(tmp_path: Path, tiny_registry: Registry) -> None:
    most: list[int] = []

    class Watched(PretendingExecutor):
        def poll(self) -> list:  # type: ignore[type-arg]
            most.append(len(self.running) + len(self.waiting))
            return super().poll()

    study, _, _ = StudyBench(tmp_path, tiny_registry).work(6, Watched(jobs=3))
    assert states(study) == ["complete"] * 6
    assert max(most) == 3


def test_median_pruning_ends_bad_trials_in_training(tmp_path: Path, tiny_registry: Registry) -> None:
    bench = StudyBench(tmp_path, tiny_registry, pruner="median", sampler="random", evaluate_every=2)
    study, _, executor = bench.work(16)
    found = Counter(states(study))
    assert found["pruned"] >= 3
    assert found["pruned"] + found["complete"] == 16
    pruned = [trial for trial in study.record.trials if trial.state == "pruned"]
    assert all(trial.values is None and len(trial.steps) < 4 for trial in pruned)
    assert {trial.seconds for trial in pruned} == {None}, "no cell of these tells how long it took"
    whole = [trial for trial in study.record.trials if trial.state == "complete"]
    assert all(list(trial.steps) == [2, 4, 6, 8] for trial in whole)
    assert whole[0].number == 0
    assert executor.steps < 4 * (16 + 2)
    again, _, executor = bench.work(16)
    assert again.record == study.record
    assert not executor.started


def test_wilcoxon_does_not_start_further_seeds_of_bad_trials(tmp_path: Path, tiny_registry: Registry) -> None:
    seeds = [11, 12, 13, 14, 15, 16]
    bench = StudyBench(tmp_path, tiny_registry, pruner="wilcoxon", seed=seeds, sampler="random")
    study, _, executor = bench.work(8)
    pruned = [trial for trial in study.record.trials if trial.state == "pruned"]
    assert pruned
    for trial in pruned:
        ran = {cell.seed for cell in executor.started if cell.id in trial.cells}
        assert ran == set(seeds[: len(trial.steps)])
        assert len(ran) < len(seeds)
    assert all(len(t.steps) == 6 for t in study.record.trials if t.state == "complete")


def test_failed_trials_are_told_and_the_study_goes_on(tmp_path: Path, tiny_registry: Registry) -> None:
    trials = 0

    def act(job: Job) -> Failure | None:
        nonlocal trials
        if not is_trial(job.cell):
            return None
        trials += 1
        return Failure(kind="diverged", message="nan") if trials in (10, 11) else None

    study, worker, _ = StudyBench(tmp_path, tiny_registry).work(6, PretendingExecutor(act=act))
    assert Counter(states(study)) == {"complete": 4, "failed": 2}
    assert not worker.studies[0].stopped


def test_a_study_in_which_everything_fails_is_stopped(tmp_path: Path, tiny_registry: Registry) -> None:
    def act(job: Job) -> Failure | None:
        return Failure(kind="diverged", message="nan") if is_trial(job.cell) else None

    study, worker, _ = StudyBench(tmp_path, tiny_registry).work(20, PretendingExecutor(act=act))
    assert states(study) == ["failed"] * 5
    assert "5 trials failed one after the other, the last one with diverged: nan" in worker.studies[0].stopped


def test_without_its_baseline_a_study_is_stopped(tmp_path: Path, tiny_registry: Registry) -> None:
    def act(job: Job) -> Failure | None:
        return None if is_trial(job.cell) else Failure(kind="data", message="gone")

    bench = StudyBench(tmp_path, tiny_registry)
    study, worker, _ = bench.work(20, PretendingExecutor(act=act))
    assert "data: gone" in worker.studies[0].stopped
    assert len(study.record.trials) <= 2


def test_the_trial_of_another_worker_is_left_to_it_until_it_is_gone(
    tmp_path: Path, tiny_registry: Registry
) -> None:
    bench = StudyBench(tmp_path, tiny_registry)
    theirs, ours = Claims(bench.runs), Claims(bench.runs)
    left = bench.study(4, claims=theirs).propose({})
    assert left is not None
    study, executor = bench.study(4, claims=ours), PretendingExecutor()
    seen: list[list[str]] = []

    def watch(progress: Progress) -> None:
        seen.append(states(study))
        assert len(seen) < 500
        if len(seen) == 100:
            theirs.release()

    bench.worker(study, executor, ours).run(watch)
    assert seen[99] == ["running", "complete", "complete", "complete"]
    assert states(study) == ["complete"] * 4
    assert study.record.trials[0].parameters == left.trial.params
    assert Counter(cell.id for cell in executor.started).most_common(1)[0][1] == 1


def test_the_defaults_are_begun_once_however_many_open_a_study(
    tmp_path: Path, tiny_registry: Registry
) -> None:
    bench = StudyBench(tmp_path, tiny_registry)
    one, other = bench.study(claims=Claims(bench.runs)), bench.study(claims=Claims(bench.runs))
    first, second = one.propose({}), other.propose({})
    assert first is not None
    assert second is not None
    assert one.values_of(0) == bench.plan.defaults
    assert [first.number, second.number] == [0, 1]
    assert first.trial.params != second.trial.params


@pytest.mark.parametrize("pruner", ["none", "median", "wilcoxon"])
def test_a_trial_without_a_finite_value_has_failed(
    pruner: str, tmp_path: Path, tiny_registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds = [5, 6]
    bench = StudyBench(tmp_path, tiny_registry, pruner=pruner, seed=seeds, sampler="random")
    broken = bench.plan.cells(bench.plan.defaults, 5)[0].balancer

    def scores(cell: Cell) -> dict[str, float]:
        return {task: math.nan if cell.balancer == broken and is_trial(cell) else 0.5 for task in cell.tasks}

    monkeypatch.setattr("study_bench.scores_of", scores)
    study, _, _ = bench.work(3)
    assert states(study) == ["failed", "complete", "complete"]
    assert read_studies(bench.runs.root, "tiny") == [study.record]


def test_a_baseline_of_zero_is_refused(
    tmp_path: Path, tiny_registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("study_bench.scores_of", lambda cell: dict.fromkeys(cell.tasks, 0.0))
    _, worker, _ = StudyBench(tmp_path, tiny_registry).work(6)
    assert "the baseline scores 0 in" in worker.studies[0].stopped
    assert "tune.objective: tasks" in worker.studies[0].stopped


def test_a_storage_that_is_gone_for_a_while_costs_nothing(
    tmp_path: Path, tiny_registry: Registry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("mtlbench.studies.worker.RETRY_SECONDS", 0)
    monkeypatch.setattr("mtlbench.studies.worker.log", logging.getLogger("test"))
    bench, calls = StudyBench(tmp_path, tiny_registry), 0
    refresh = Study.refresh

    def unreliable(self: Study) -> None:
        nonlocal calls
        calls += 1
        if calls > 2 and calls % 4 == 0:
            raise StorageInternalError("the server is gone")
        refresh(self)

    monkeypatch.setattr(Study, "refresh", unreliable)
    study, _, executor = bench.work(6)
    assert states(study) == ["complete"] * 6
    assert Counter(cell.id for cell in executor.started).most_common(1)[0][1] == 1
    assert [r.message for r in caplog.records].count(
        "the studies' storage can't be used: the server is gone; cells run on"
    ) == 1
