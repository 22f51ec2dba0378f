"""What parts of a grid file must be, beyond what the plugins' own options are checked for."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from mtlbench.layouts.settings import column_problems
from mtlbench.options import Labelled, Problem, is_for, shown
from mtlbench.published_numbers import AUTO, published_names
from mtlbench.registry import Registry, unknown


def bad_name(name: str | None) -> list[Problem]:
    """Folders and files are called like the grid."""
    if name is None or re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", name):
        return []
    form = "at most 100 letters, digits, `_`, `.` and `-`, the first one a letter or digit"
    return [Problem("name", f"must be {form}, got {shown(name)}")]


def unknown_tasks(registry: Registry, datasets: list[Labelled], tasks: list[str] | None) -> list[Problem]:
    problems = []
    for labelled in datasets:
        valid = list(registry.load("dataset", labelled.choice.name).tasks)
        for i, task in enumerate(tasks or ()):
            if task not in valid:
                found = unknown(f"task of data set `{labelled.choice.name}`", task, valid)
                problems.append(Problem(f"tasks[{i}]", found))
    if tasks is not None and (not tasks or len(set(tasks)) < len(tasks)):
        problems.append(Problem("tasks", f"must be different tasks, at least one, got {shown(tasks)}"))
    return problems


def missing_weights(family: str, chosen: list[Labelled], words: tuple[str, ...]) -> list[Problem]:
    files = [labelled.choice.options.get("weights", "none") for labelled in chosen]
    return [
        Problem(f"{family}.weights", f"must be {', '.join(words)} or a file that exists, got {file}")
        for file in files
        if file not in words and not Path(file).is_file()
    ]


def rival_baselines(baselines: list[Labelled], backbones: list[Labelled]) -> list[Problem]:
    """Rows are compared with one baseline: several must be for different backbones."""
    for backbone in backbones:
        rivals = [b for b in baselines if is_for(b.backbones, backbone)]
        if len(rivals) > 1:
            where = f" for {backbone.label}" if any(b.backbones for b in rivals) else ""
            return [Problem("baseline", f"must be one method{where}, got {len(rivals)}")]
    return []


def unknown_tables(value: Any) -> list[Problem]:
    """`published`: a paper's table, or several; `auto` stands for those of the data sets."""
    names, given = [*published_names(), AUTO], value if isinstance(value, list) else [value]
    if value is None or all(name in names for name in given):
        return []
    if not all(isinstance(name, str) for name in given):
        return [Problem("published", f"must name one or several tables of papers, got {shown(value)}")]
    return [
        Problem(
            f"published[{i}]" if isinstance(value, list) else "published",
            unknown("published table", name, names),
        )
        for i, name in enumerate(given)
        if name not in names
    ]


def unknown_columns(
    registry: Registry, datasets: list[Labelled], columns: Sequence[str] | None
) -> list[Problem]:
    """`report.columns`: what a table of these data sets could have, whatever their metrics measure beside."""
    loaded = [registry.load("dataset", labelled.choice.name) for labelled in datasets]
    tasks = dict.fromkeys(task for dataset in loaded for task in dataset.tasks)
    return [Problem(f"report.columns[{i}]", message) for i, message in column_problems(columns, list(tasks))]


def never_kept(registry: Registry, datasets: list[Labelled], augmentations: Collection[str]) -> list[Problem]:
    """`execution.cache_features` where no training image is ever seen twice."""
    from mtlbench.features import changes_at_random  # brings torch, as data sets do

    random = []
    for labelled in datasets:
        dataset = registry.load("dataset", labelled.choice.name)
        for augment in augmentations:
            name = dataset.default_transform if augment == "default" else augment
            if name not in dataset.transforms or not changes_at_random(dataset.transforms[name]):
                return []
            random.append(f"`{name}` of {labelled.choice.name}")
    message = "needs a `recipe.augment` that leaves images as they are (`none`)"
    changing = ", ".join(dict.fromkeys(random))
    return [Problem("execution.cache_features", f"{message}: {changing} changes them at random")]


def unknown_exclusions(exclude: list[dict[str, str]]) -> list[Problem]:
    valid = ["dataset", "backbone", "method", "balancer", "tuning", "protocol"]
    return [
        Problem(f"exclude[{i}].{key}", unknown("key", key, valid))
        for i, entry in enumerate(exclude)
        for key in entry
        if key not in valid
    ]
