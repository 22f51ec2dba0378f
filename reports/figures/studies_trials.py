"""Trials of a study as its figures show them: task weights as they were used, in place of what was drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mtlbench.results import Results, TaskColumn
from mtlbench.search.spaces import OneOf, Range, Simplex, read_domain
from mtlbench.studies.records import StudyRecord, TrialRecord


@dataclass(frozen=True, eq=False)
class Parameter:
    """One tuned number or choice over the complete trials.

    Attributes:
        values: numbers; of a choice its place among `choices`.
        log: whether all sizes were equally likely.
        choices: what can be chosen, as text; empty for numbers.
    """

    name: str
    values: np.ndarray
    log: bool = False
    choices: tuple[str, ...] = ()

    @property
    def varies(self) -> bool:
        return bool(len(self.values)) and bool((self.values != self.values[0]).any())


@dataclass(frozen=True)
class Goal:
    """One objective.

    Attributes:
        label: of an axis.
        sign: 1 where higher is better, else -1.
        scale: what values are multiplied with to be shown.
    """

    name: str
    label: str
    sign: int
    scale: float = 1.0


@dataclass(frozen=True, eq=False)
class Trials:
    """The complete trials of a study.

    Attributes:
        title: what was tuned.
        numbers: of the trials, ascending; the one with the default values is 0.
        values: (trials, goals), as they are shown.
    """

    title: str
    study: StudyRecord
    goals: tuple[Goal, ...]
    numbers: np.ndarray
    values: np.ndarray
    parameters: tuple[Parameter, ...]

    def best(self, goal: int) -> int:
        """Place of the best trial by one objective."""
        return int(np.argmax(self.values[:, goal] * self.goals[goal].sign))

    @property
    def default(self) -> int | None:
        """Place of the trial with the default values, if it is complete."""
        return 0 if len(self.numbers) and self.numbers[0] == 0 else None


def read_trials(results: Results) -> list[Trials]:
    """Of each study."""
    titles = _titles(results.studies)
    return [_of(study, titles[study.name], results.tasks) for study in results.studies]


def goals_of(names: Sequence[str], tasks: Sequence[TaskColumn]) -> tuple[Goal, ...]:
    """Of the gain over the baseline, or of tasks."""
    known = {task.name: task for task in tasks}
    return tuple(_goal(name, known.get(name)) for name in names)


def last_step(trial: TrialRecord) -> float | None:
    """What a pruned trial had reached."""
    value = trial.steps[max(trial.steps)] if trial.steps else None
    return value if value is not None and math.isfinite(value) else None


def _goal(name: str, task: TaskColumn | None) -> Goal:
    if name == "delta_m":
        return Goal(name, "Δm (%) on held-out images", 1)
    if task is None:
        return Goal(name, name, 1)
    arrow = "↑" if task.higher_is_better else "↓"
    return Goal(name, f"{name} {task.heading} {arrow}", 1 if task.higher_is_better else -1, task.scale)


def _of(study: StudyRecord, title: str, tasks: Sequence[TaskColumn]) -> Trials:
    goals = goals_of(study.objective, tasks)
    complete = [trial for trial in study.trials if _is_complete(trial, len(goals))]
    values = [[v * goal.scale for v, goal in zip(t.values or (), goals, strict=True)] for t in complete]
    return Trials(
        title,
        study,
        goals,
        np.array([trial.number for trial in complete]),
        np.array(values).reshape(len(complete), len(goals)),
        _parameters(study, complete),
    )


def _is_complete(trial: TrialRecord, goals: int) -> bool:
    values = trial.values or []
    return trial.state == "complete" and len(values) == goals and all(map(math.isfinite, values))


def _parameters(study: StudyRecord, trials: list[TrialRecord]) -> tuple[Parameter, ...]:
    found: list[Parameter] = []
    used = [study.used(trial) for trial in trials]
    for key, written in study.space.items():
        domain = read_domain(written)
        if isinstance(domain, Simplex):
            found += [
                Parameter(f"{key}.{task}", np.array([values[f"{key}.{task}"] for values in used]), log=True)
                for task in (domain.tasks if len(domain.tasks) > 2 else domain.tasks[:1])  # one tells both
            ]
        else:
            found.append(_parameter(key, domain, [trial.parameters[key] for trial in trials]))
    return tuple(_with_short_names(found))


def _parameter(key: str, domain: Range | OneOf, values: list[Any]) -> Parameter:
    if isinstance(domain, Range):
        return Parameter(key, np.array(values, dtype=float), domain.log)
    tokens = [next(iter(domain.parameters(value, key).values())) for value in domain.values]
    places = np.array([tokens.index(value) for value in values], dtype=float)
    return Parameter(key, places, choices=tuple(str(value) for value in domain.values))


def _with_short_names(parameters: list[Parameter]) -> list[Parameter]:
    """Without the family, where that leaves them different."""
    short = [parameter.name.partition(".")[2] or parameter.name for parameter in parameters]
    if len(set(short)) < len(short):
        return parameters
    return [Parameter(name, p.values, p.log, p.choices) for name, p in zip(short, parameters, strict=True)]


def _titles(studies: Sequence[StudyRecord]) -> dict[str, str]:
    """By what of their settings differs; of one study method and balancer."""
    axes = (
        [axis for axis in studies[0].labels if len({s.labels.get(axis) for s in studies}) > 1]
        if studies
        else []
    )
    axes = axes or ["method", "balancer"]
    return {
        s.name: " · ".join(filter(None, (s.labels.get(axis) for axis in axes))) or s.name for s in studies
    }
