"""Studies that nobody carried out."""

from __future__ import annotations

from typing import Any

import numpy as np

from mtlbench.studies.records import StudyRecord, TrialRecord

TASKS = ("semseg", "depth", "normals", "edge")
SPACE: dict[str, Any] = {
    "balancer.weights": {"low": 0.1, "high": 10, "tasks": ["semseg", "depth"]},
    "recipe.lr": {"low": 1e-4, "high": 1e-1, "log": True},
    "recipe.warmup": {"low": 0, "high": 100, "whole": True},
    "method.depth": {"values": [1, 2, 4]},
    "recipe.optimizer": {"values": ["sgd", "adamw"]},
}
DEFAULTS: dict[str, Any] = {
    "balancer.weights": {"semseg": 1.0, "depth": 1.0},
    "recipe.lr": 0.01,
    "recipe.warmup": 0,
    "method.depth": 2,
    "recipe.optimizer": "sgd",
}
_AT_DEFAULT = {
    "balancer.weights.semseg": 1.0,
    "balancer.weights.depth": 1.0,
    "recipe.lr": 0.01,
    "recipe.warmup": 0,
    "method.depth": 2,
    "recipe.optimizer": "sgd",
}


def make_study(
    *,
    trials: int = 30,
    objective: tuple[str, ...] = ("delta_m",),
    keys: tuple[str, ...] = tuple(SPACE),
    tasks: int = 3,
    pruned: bool = False,
    failed: bool = False,
    default: bool = True,
    number: int = 0,
    label: str = "equal",
) -> StudyRecord:
    """A study in which the learning rate matters most; `default`: trial 0 is complete."""
    rng = np.random.default_rng(number)
    made = [
        _trial(rng, i, objective, keys, TASKS[:tasks], pruned=pruned, failed=failed, default=default)
        for i in range(trials)
    ]
    complete = [t for t in made if t.state == "complete" and t.values]
    return StudyRecord(
        name=f"study-{number}",
        grid="quickstart",
        labels={
            "dataset": "rooms",
            "backbone": "resnet18",
            "method": "DeGMix",
            "balancer": label,
            "recipe": "quick",
        },
        objective=list(objective),
        directions=["minimize" if name in ("depth", "normals") else "maximize" for name in objective],
        space={key: SPACE[key] for key in keys},
        defaults={key: DEFAULTS[key] for key in keys},
        holdout=0.2,
        seeds=[3],
        trials=made,
        best=[max(complete, key=lambda t: (t.values or [0])[0]).number] if complete else [],
    )


def _trial(
    rng: np.random.Generator,
    number: int,
    objective: tuple[str, ...],
    keys: tuple[str, ...],
    tasks: tuple[str, ...],
    *,
    pruned: bool,
    failed: bool,
    default: bool,
) -> TrialRecord:
    drawn = {
        "balancer.weights.semseg": float(10 ** rng.uniform(-1, 1)),
        "balancer.weights.depth": float(10 ** rng.uniform(-1, 1)),
        "recipe.lr": float(10 ** rng.uniform(-4, -1)),
        "recipe.warmup": int(rng.integers(0, 101)),
        "method.depth": int(rng.choice([1, 2, 4])),
        "recipe.optimizer": str(rng.choice(["sgd", "adamw"])),
    }
    given = {
        name: value
        for name, value in (drawn if number else _AT_DEFAULT).items()
        if any(name == key or name.startswith(f"{key}.") for key in keys)
    }
    quality = 2 - (np.log10(given.get("recipe.lr", 0.01)) + 2.3) ** 2 + rng.normal(0, 0.3)
    tilt = float(np.log10(given.get("balancer.weights.semseg", 1) / given.get("balancer.weights.depth", 1)))
    scores = {
        "semseg": 0.4 + 0.01 * quality + 0.02 * tilt,
        "depth": 0.6 - 0.01 * quality + 0.02 * tilt,
        "normals": 21 - 0.3 * quality + float(rng.normal(0, 0.2)),
        "edge": 0.05,
    }
    shown = {name: scores[name] for name in tasks}
    ends = number % 5 if number or not default else 5
    if (pruned and ends == 2) or (not number and not default):
        return TrialRecord(
            number=number, state="pruned", parameters=given, steps={50: quality - 1.5, 100: quality - 1}
        )
    if failed and ends == 4:
        return TrialRecord(number=number, state="failed", parameters=given)
    values = [float(quality)] if objective == ("delta_m",) else [scores[name] for name in objective]
    return TrialRecord(
        number=number,
        state="complete",
        parameters=given,
        values=values,
        scores=shown,
        cells=[f"cell-{number}"],
        seconds=60.0,
    )
