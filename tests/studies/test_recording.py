"""Records of trials, and which trials are best."""

import optuna
import pytest

from mtlbench.search.spaces import OneOf, Range, Simplex
from mtlbench.studies.recording import best_of, frozen_trial, trial_record
from mtlbench.studies.records import TrialRecord, TrialState
from mtlbench.studies.storage import quiet

SPACE = {
    "balancer.weights": Simplex(0.1, 10, ("a", "b")),
    "recipe.lr": Range(1e-4, 1e-2, log=True),
    "method.depth": OneOf((1, 2, [3, 4])),
}
PARAMETERS = {
    "balancer.weights.a": 0.5, "balancer.weights.b": 2.0, "recipe.lr": 1e-3, "method.depth": "[3, 4]",
}  # fmt: skip


def trial(number: int, values: list[float] | None, state: TrialState = "complete") -> TrialRecord:
    return TrialRecord(number=number, state=state, parameters={}, values=values)


@pytest.mark.parametrize("state", ["complete", "pruned", "failed"])
def test_a_trial_comes_back_from_its_record_as_it_was(state: TrialState) -> None:
    record = TrialRecord(
        number=0,
        state=state,
        parameters=PARAMETERS,
        values=[1.5] if state == "complete" else None,
        steps={10: 0.5, 20: 1.0} if state != "failed" else {},
        scores={"a": 0.25},
        cells=["x", "y"],
        seconds=2.5,
    )
    with quiet():
        study = optuna.create_study(direction="maximize")
        study.add_trial(frozen_trial(record, SPACE))
        assert trial_record(study.trials[0]) == record
        assert study.trials[0].distributions.keys() == PARAMETERS.keys()


def test_a_trial_that_was_at_work_waits_with_its_parameters() -> None:
    record = TrialRecord(number=0, state="running", parameters=PARAMETERS)
    with quiet():
        study = optuna.create_study()
        study.add_trial(frozen_trial(record, SPACE))
        assert trial_record(study.trials[0]).state == "waiting"
        asked = study.ask()
        assert SPACE["method.depth"].suggest(asked, "method.depth") == [3, 4]
        assert SPACE["recipe.lr"].suggest(asked, "recipe.lr") == 1e-3


def test_the_first_of_equally_good_trials_is_best() -> None:
    trials = [trial(0, [1.0]), trial(1, [3.0]), trial(2, None, "failed"), trial(3, [3.0])]
    assert best_of(trials, ["maximize"]) == [1]
    assert best_of(trials, ["minimize"]) == [0]
    assert best_of(trials[2:3], ["minimize"]) == []


def test_the_front_holds_what_nothing_dominates() -> None:
    values = [[1.0, 5.0], [2.0, 5.0], [2.0, 4.0], [0.0, 3.0], [3.0, 9.0], [2.0, 4.0]]
    trials = [trial(number, found) for number, found in enumerate(values)]
    assert best_of(trials, ["maximize", "minimize"]) == [2, 3, 4]
