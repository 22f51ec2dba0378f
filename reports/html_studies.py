"""Studies as the page shows them: the best setting, the history, and all trials."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import yaml

from mtlbench.entries import DASH, MINUS
from mtlbench.search.spaces import read_domain
from mtlbench.studies.records import StudyRecord, TrialRecord

from .html_packing import compact


@dataclass(frozen=True)
class ShownStudy:
    """One study.

    Attributes:
        facts: what it was: objective, trials, seeds, hold-out.
        best: for each best trial its number, its objectives in words, and its setting in YAML.
        heads: of the trials' table.
        trials: for each its cells: text and the value to sort by.
        history: trial number, value and whether it is complete, for each objective.
    """

    name: str
    labels: str
    facts: list[tuple[str, str]]
    best: list[tuple[int, str, str]]
    heads: list[str]
    trials: list[tuple[bool, list[tuple[str, object]]]]
    history: list[dict[str, Any]]
    comparison: str | None


def show(study: StudyRecord) -> ShownStudy:
    """What the page shows of a study."""
    trials = {trial.number: trial for trial in study.trials}
    best = [trials[number] for number in study.best if number in trials]
    used = [study.used(trial) for trial in study.trials]
    parameters = list(dict.fromkeys(key for values in used for key in values))
    return ShownStudy(
        name=study.name,
        labels=" · ".join(label for label in study.labels.values() if label),
        facts=_facts(study),
        best=[
            (trial.number, _values(study, trial), _setting(setting))
            for trial, setting in zip(best, study.settings, strict=False)
        ],
        heads=["trial", "state", *study.objective, *parameters, "seconds"],
        trials=[
            (trial.number in study.best, _cells(study, trial, [values.get(key) for key in parameters]))
            for trial, values in zip(study.trials, used, strict=True)
        ],
        history=[_history(study, place) for place in range(len(study.objective))],
        comparison=study.comparison,
    )


def _facts(study: StudyRecord) -> list[tuple[str, str]]:
    states: dict[str, int] = {}
    for trial in study.trials:
        states[trial.state] = states.get(trial.state, 0) + 1
    goals = zip(study.objective, study.directions, strict=False)
    held = f"{study.holdout:.0%} of the training images" if study.holdout else "the validation images"
    return [
        ("Objective", ", ".join(f"{name} ({direction})" for name, direction in goals)),
        ("Trials", ", ".join(f"{count} {state}" for state, count in states.items()) or "none yet"),
        ("Scored on", held),
        ("Seeds of a trial", ", ".join(map(str, study.seeds))),
        ("Tuned", ", ".join(f"{key} {read_domain(domain)}" for key, domain in study.space.items())),
    ]


def _setting(setting: dict[str, Any]) -> str:
    """As a grid file writes it."""
    return yaml.safe_dump(setting, sort_keys=False, allow_unicode=True).strip()


def _values(study: StudyRecord, trial: TrialRecord) -> str:
    pairs = zip(study.objective, trial.values or (), strict=False)
    return ", ".join(f"{name} {_text(value)}" for name, value in pairs)


def _cells(study: StudyRecord, trial: TrialRecord, used: list[Any]) -> list[tuple[str, object]]:
    values: list[float | None] = [*(trial.values or [])] or [None] * len(study.objective)
    listed = [
        trial.number,
        trial.state,
        *values,
        *used,
        trial.seconds,
    ]
    return [(DASH if value is None else _text(value), "" if value is None else value) for value in listed]


def _history(study: StudyRecord, place: int) -> dict[str, Any]:
    done = [trial for trial in study.trials if trial.values and len(trial.values) > place]
    points = [(trial.number, trial.values[place]) for trial in done if trial.values]
    history: dict[str, Any] = compact(
        {
            "objective": study.objective[place],
            "highest": study.directions[place] == "maximize",
            "trials": [number for number, _ in points],
            "values": [value for _, value in points],
        }
    )
    return history


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}".replace("-", MINUS)
    return str(value)
