"""Results whose scores a test gives, for statistics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pandas as pd
from results_factory import TASKS, Trained, results_of

from mtlbench.results import Results

NAN = float("nan")


def scored(
    rows: Mapping[str, Sequence[float]], *, baseline: Sequence[float] = (), constant: Sequence[float] = ()
) -> Results:
    """Rows named by their methods, with shares of one task (semseg), a value for each seed.

    A missing seed is NaN; delta_m is there for the seeds in which row and baseline have a score.
    """
    roles = dict.fromkeys(rows, "candidate")
    values = {**rows}
    if baseline:
        roles["single task"], values["single task"] = "baseline", baseline
    if constant:
        roles["constant"], values["constant"] = "reference", constant
    trained = [
        Trained("joint", (("semseg",),), {"semseg": values[name]}, role=role, method=name, balancer="")
        for name, role in roles.items()
    ]
    results = results_of(trained, TASKS[:1])
    results = replace(results, scores=results.scores[results.scores["value"].notna()])
    lines = [
        (row, seed, 100 * (value / baseline[seed] - 1))
        for row, name in enumerate(roles)
        for seed, value in enumerate(values[name])
        if baseline and value == value and baseline[seed] == baseline[seed]
    ]
    return replace(results, delta_m=pd.DataFrame(lines, columns=["row", "seed", "delta_m"]))
