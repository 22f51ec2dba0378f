"""From an Optuna study to its record, which reports read and from which a lost study is put back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.trial import FixedTrial, FrozenTrial, TrialState, create_trial

from mtlbench.search.spaces import Domain
from mtlbench.studies.records import TrialRecord
from mtlbench.studies.records import TrialState as State

SCORES, CELLS, SECONDS, REASON = "scores", "cells", "seconds", "reason"
"""What an Optuna trial keeps beside its parameters and values."""
STATES: dict[TrialState, State] = {
    TrialState.WAITING: "waiting",
    TrialState.RUNNING: "running",
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}


def trial_record(trial: FrozenTrial) -> TrialRecord:
    """Of a waiting trial the parameters are those that it is going to have."""
    attributes = trial.user_attrs
    return TrialRecord(
        number=trial.number,
        state=STATES[trial.state],
        parameters=trial.params or trial.system_attrs.get("fixed_params", {}),
        values=trial.values if trial.state == TrialState.COMPLETE else None,
        steps=trial.intermediate_values,
        scores=attributes.get(SCORES, {}),
        cells=attributes.get(CELLS, []),
        seconds=attributes.get(SECONDS),
    )


def frozen_trial(record: TrialRecord, space: Mapping[str, Domain]) -> FrozenTrial:
    """The trial of a record. One that was at work waits: it begins again, from what its cells have left."""
    kept = {SCORES: record.scores, CELLS: record.cells, SECONDS: record.seconds}
    if record.state in ("waiting", "running"):
        return create_trial(
            state=TrialState.WAITING, system_attrs={"fixed_params": record.parameters}, user_attrs=kept
        )
    state = next(ours for ours, name in STATES.items() if name == record.state)
    last = [record.steps[max(record.steps)]] if record.state == "pruned" and record.steps else None
    return create_trial(
        state=state,
        params=record.parameters,
        distributions=distributions(record.parameters, space) if record.parameters else {},
        values=record.values or last,
        intermediate_values=record.steps,
        user_attrs=kept,
    )


def distributions(parameters: Mapping[str, Any], space: Mapping[str, Domain]) -> dict[str, BaseDistribution]:
    """Of the parameters of a trial."""
    fixed = FixedTrial(dict(parameters))
    for name, domain in space.items():
        domain.suggest(fixed, name)
    return fixed.distributions


def best_of(trials: Sequence[TrialRecord], directions: Sequence[str]) -> list[int]:
    """Numbers of the complete trials that no other one dominates; with one objective a single one.

    Of several with equal values the first counts.
    """
    signs = [1 if direction == "maximize" else -1 for direction in directions]
    complete = [
        (trial.number, [sign * value for sign, value in zip(signs, trial.values, strict=True)])
        for trial in trials
        if trial.state == "complete" and trial.values is not None
    ]
    return [
        number
        for number, values in complete
        if not any(_beats(other, values) or (other == values and n < number) for n, other in complete)
    ]


def _beats(one: Sequence[float], other: Sequence[float]) -> bool:
    return one != other and all(a >= b for a, b in zip(one, other, strict=True))
