"""What a study leaves behind for its user: the best setting as a file that grids include."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from mtlbench.delta_m import delta_m
from mtlbench.files import write_atomically
from mtlbench.studies.records import TrialRecord, studies_folder
from mtlbench.studies.study import Study


def write_outcome(study: Study, root: Path) -> Path | None:
    """Write `best.yaml`, and for several objectives `front.yaml`; returns the first, None without a trial."""
    best = best_trial(study)
    if best is None:
        return None
    folder = studies_folder(root) / study.plan.name
    file = folder / "best.yaml"
    head = [
        f"Best of {len(study.record.trials)} trials of the study {study.plan.name}: trial {best.number}"
        + (" (the defaults)" if best.number == 0 else ""),
        f"Scored on {study.settings.holdout:.0%} of the training images, which no trial was trained on; "
        + seeds_text(study.seeds),
        *_values(study, best),
        f"In a grid file: include: {file}",
    ]
    write_atomically(file, _commented(head, _setting(study, best)))
    if not study.compares:
        write_atomically(folder / "front.yaml", _commented(_front_head(study), _front(study)))
    return file


def best_trial(study: Study) -> TrialRecord | None:
    """Of several objectives that of the front with the largest mean relative gain over the defaults."""
    trials = [study.record.trials[number] for number in study.record.best]
    if not trials or study.compares:
        return trials[0] if trials else None
    default = study.record.trials[0].scores
    if not default or not all(default.values()):
        return trials[0]
    return max(trials, key=lambda trial: delta_m(trial.scores, default, study.higher))


def counts(study: Study) -> str:
    """`20 trials: 15 complete, 5 pruned`."""
    states = Counter(trial.state for trial in study.record.trials)
    told = ", ".join(f"{count} {state}" for state, count in states.items())
    return f"{len(study.record.trials)} trials: {told}"


def seeds_text(seeds: Sequence[int]) -> str:
    """`seed 2`, or `seeds 2, 3`."""
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"


def _values(study: Study, best: TrialRecord) -> list[str]:
    default = study.record.trials[0]
    return [
        f"{name}: {_number(best, i)} (defaults: {_number(default, i)})"
        for i, name in enumerate(study.record.objective)
    ]


def _number(trial: TrialRecord, objective: int) -> str:
    return "none" if trial.values is None else f"{trial.values[objective]:.5g}"


def _front_head(study: Study) -> list[str]:
    return [
        f"The Pareto front of {len(study.record.trials)} trials of the study {study.plan.name}",
        "No trial is better in one task and as good in all others; each entry's `grid` is what a grid file "
        "would say",
    ]


def _front(study: Study) -> dict[str, Any]:
    trials = [study.record.trials[number] for number in study.record.best]
    return {
        "front": [
            {
                "trial": trial.number,
                "values": dict(zip(study.record.objective, trial.values or (), strict=True)),
                "grid": _setting(study, trial),
            }
            for trial in trials
        ]
    }


def _setting(study: Study, trial: TrialRecord) -> dict[str, Any]:
    return study.record.settings[study.record.best.index(trial.number)]


def _commented(head: list[str], content: dict[str, Any]) -> str:
    lines = "".join(f"# {line}\n" for line in head)
    return lines + yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
