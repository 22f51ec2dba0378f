"""What a grid's results say, in words, and how far that can be trusted."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mtlbench.entries import DASH, decimals_for, number
from mtlbench.results import Results
from mtlbench.statistics.claims import ONE_SEED, margin
from mtlbench.statistics.groups import DELTA_M, Group, Measure, groups, measures, ranking, row_names, seeds
from mtlbench.statistics.intervals import interval
from mtlbench.statistics.words import against, duration, listed, of_rows, of_seeds, span


def findings(results: Results) -> list[str]:
    """Sentences in plain text; none where no candidate has a score and every row is complete."""
    return list(_findings(results))


@lru_cache(maxsize=1)
def _findings(results: Results) -> tuple[str, ...]:
    found = [(group, _measures(results, group)) for group in groups(results)]
    found = [(group, of_group) for group, of_group in found if of_group]
    said: list[str] = [ONE_SEED] if found and seeds(results) == 1 else []
    for group, of_group in found:
        place = f"{_place(results, group)}: " if len(found) > 1 else ""
        said += [f"{place}{sentence}" for sentence in _of_group(results, group, of_group)]
    return (*said, *_incomplete(results))


def _measures(results: Results, group: Group) -> list[Measure]:
    """Those in which the group's candidates have values."""
    rows = set(group.candidates)
    return [found for found in measures(results) if rows & set(found.values.index)]


def _of_group(results: Results, group: Group, found: list[Measure]) -> list[str]:
    tasks = [measure for measure in found if measure.name != DELTA_M]
    if found[0].name != DELTA_M:
        why = "no baseline" if group.baseline < 0 else "no row that trained and scored every task as it did"
        margins = [
            sentence
            for task in tasks
            for sentence in margin(results, group, task.name, ranking(task, group.candidates)[0])
        ]
        return [
            f"There is no Δm: {why}.",
            *_best(results, group, tasks, leader=None),
            *margins,
            *_below_constant(results, group, tasks),
        ]
    leader = ranking(found[0], group.candidates)[0]
    return [
        _first(results, group, found[0], leader),
        *margin(results, group, DELTA_M, leader),
        *_best(results, group, tasks, leader),
        *_costs(results, group, leader),
        *_below_constant(results, group, tasks),
    ]


def _place(results: Results, group: Group) -> str:
    """`rooms, efficientnet-lite0`, with tuning and recipe where these tell groups apart."""
    alike = [other for other in groups(results) if other.labels[:2] == group.labels[:2]]
    labels = group.labels if len(alike) > 1 else group.labels[:2]
    return ", ".join(label for label in labels if label not in ("", DASH))


def _first(results: Results, group: Group, measure: Measure, leader: int) -> str:
    """Who leads, by how much over the baseline, and how sure that is."""
    names, values = row_names(results), list(measure.values.loc[leader].dropna())
    count = int(measure.values.index.isin(group.candidates).sum())
    found, strict = (interval(values, confidence, "t") for confidence in (0.95, 1 - 0.05 / count))
    verb = f"has the highest Δm of {count} rows" if count > 1 else "is the only row with a Δm"
    said = f"{names[leader]} {verb}: {number(found.mean, 2, signed=True)} %"
    if found.low is None or found.high is None or strict.low is None or strict.high is None:
        return f"{said} ({of_seeds(found.n)})."
    said += f" ({span(found.low, found.high, 2)}; {of_seeds(found.n)})"
    baseline = names.get(group.baseline, "the baseline")
    # The leader was chosen after looking: what is said of it has to hold for the best of that many rows.
    chosen = f", also when corrected for the choice among {count}" if count > 1 else ""
    if strict.low > 0 or strict.high < 0:
        return f"{said}, {'better' if strict.low > 0 else 'worse'} than {baseline}{chosen}."
    return f"{said}. Whether it is better than {baseline} is open."


def _best(results: Results, group: Group, tasks: list[Measure], leader: int | None) -> list[str]:
    """The tasks in which another row than the leader is best, or all where there is no leader."""
    names, columns, others = row_names(results), {task.name: task for task in results.tasks}, []
    for task in tasks:
        best = ranking(task, group.candidates)[0]
        means = {int(row): float(mean) for row, mean in zip(*_means(task), strict=True)}
        led = None if leader is None else means.get(leader)
        if best == leader or means[best] == led:
            continue
        decimals = decimals_for(means.values())
        value = f"{columns[task.name].heading} {number(means[best], decimals)}"
        behind = f" against {number(led, decimals)}" if led is not None else ""
        others.append(f"{names[best]} in {task.name} ({value}{behind})")
    if len(group.candidates) < 2 or (leader is None and not others):
        return []
    if leader is not None and not others:
        return [f"{names[leader]} also has the best mean in every task."]
    who = "Best means" if leader is None else "Other rows have better means"
    return [f"{who}: {'; '.join(others)}."]


def _means(task: Measure) -> tuple[pd.Index, NDArray[np.float64]]:
    """Rows, and their means over seeds."""
    return task.values.index, task.values.mean(axis=1).to_numpy(dtype=float)


def _costs(results: Results, group: Group, leader: int) -> list[str]:
    """What the leader costs, beside the baseline."""
    means = results.costs.groupby("row")[["parameters", "macs", "train_seconds"]].mean()
    if leader not in means.index:
        return []
    time, length = duration(float(means["train_seconds"][leader]))
    parts, compared = [], group.baseline in means.index
    for name, unit, size in (
        ("parameters", "M parameters", 1e6),
        ("macs", "GMACs an image", 1e9),
        ("train_seconds", f"{time} of training", length),
    ):
        value, base = (float(means[name].get(row, np.nan)) for row in (leader, group.baseline))
        if np.isfinite(value) and value > 0:
            beside = f" ({against(value, base)})" if base > 0 else ""
            parts.append(f"{number(value / size, 1 if value >= 10 * size else 2)} {unit}{beside}")
    names = row_names(results)
    beside = f", beside {names[group.baseline]}" if compared else ""
    return [f"{names[leader]} costs{beside}: {', '.join(parts)}."] if parts else []


def _below_constant(results: Results, group: Group, tasks: list[Measure]) -> list[str]:
    """Rows that a prediction without a look at the image beats, for each task that has any."""
    names, said = row_names(results), []
    for task in tasks:
        means = task.sign * task.values.mean(axis=1)
        if group.constant in means.index:
            rows = means.index.intersection(list(group.candidates))
            worse = [names[row] for row in rows if means[row] < means[group.constant]]
            if worse:
                said.append(f"in {task.name} {of_rows(len(worse))} ({listed(worse)})")
    return [f"Worse than the constant predictor, which sees no image: {'; '.join(said)}."] if said else []


def _incomplete(results: Results) -> list[str]:
    rows = results.rows
    missing = [int(row) for row in rows.index[rows["state"] != "done"]]
    if not missing:
        return []
    named = [f"{row_names(results)[row]} ({rows['state'][row]})" for row in missing]
    verb = "is" if len(missing) == 1 else "are"
    return [f"{len(missing)} of {len(rows)} rows {verb} incomplete: {listed(named, joint='; ')}."]
