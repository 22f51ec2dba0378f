"""What a grid's `tune.space` must be: found with all other mistakes of the file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mtlbench.errors import MtlbenchError
from mtlbench.options import Labelled, Problem, shown
from mtlbench.registry import Registry, unknown
from mtlbench.search.settings import TuneSettings
from mtlbench.search.spaces import DECLARED, Domain, Simplex
from mtlbench.search.tunable import FAMILIES, Tunable, TunablePlugin, TunableRecipe

if TYPE_CHECKING:
    from mtlbench.config import NamedRecipe
    from mtlbench.tasks import Tasks

RECIPE = "recipe"
_COMPARED = "rows are compared on the same {0}: list several under `{0}` instead"
_REASONS = {
    "dataset": _COMPARED.format("dataset"),
    "backbone": _COMPARED.format("backbone"),
    "protocol": _COMPARED.format("protocol"),
    "tasks": "all trials have the grid's tasks",
    "seed": "that would be to pick the luckiest run; `tune.seed` are the seeds of trials",
    "execution": "it says how cells run, not what they compute",
    "baseline": "it is what others are compared with",
    "reference": "it is what others are compared with",
}
"""Why other keys of a grid can't be tuned."""


def space_problems(
    registry: Registry,
    settings: TuneSettings,
    recipes: Sequence[NamedRecipe],
    axes: Mapping[str, Sequence[Labelled]],
    tasks: Sequence[str] | None,
) -> list[Problem]:
    """Mistakes of the key `tune` that need the rest of the grid to be seen.

    Args:
        registry: of all plugins.
        settings: the key.
        recipes: of the grid.
        axes: of the grid, by the names of `Grid`'s fields.
        tasks: of the grid; None: all of the data set.
    """
    problems = []
    if settings.objective == "delta_m" and not axes["baselines"]:
        found = "`delta_m` compares with a baseline: name a `baseline`, or set `objective: tasks`"
        problems.append(Problem("tune.objective", found))
    entries: dict[str, list[Tunable]] = {
        family: [TunablePlugin(registry, family, entry) for entry in axes[f"{family}s"]]
        for family in FAMILIES
    }
    entries[RECIPE] = [TunableRecipe(recipe) for recipe in recipes]
    if not settings.space:
        problems.append(Problem("tune.space", "must name at least one key, such as balancer or recipe.lr"))
    known = [registry.load("dataset", entry.choice.name).tasks for entry in axes["datasets"]]
    trained: list[Tasks] = [{name: of[name] for name in tasks or of} for of in known]
    for key, value in settings.space.items():
        place = f"tune.space.{key}"
        messages = dict.fromkeys(_complaints(key, value, entries, trained))
        problems += [Problem(place, message) for message in messages]
    return problems


def _complaints(
    key: str, value: Any, entries: Mapping[str, list[Tunable]], tasks: list[Tasks]
) -> Iterator[str]:
    family, dot, option = key.partition(".")
    if family not in entries:
        valid = [f"{axis}.{name}" for axis, found in entries.items() for e in found for name in e.options]
        reason = _REASONS.get(family)
        yield f"can't be tuned: {reason}" if reason else unknown("key of a space", key, valid)
    elif not dot:
        if family == RECIPE:
            yield "recipes declare no space: name fields such as `recipe.lr`"
        elif value != DECLARED:
            yield f"must be `{DECLARED}` (all that plugins declare); one option is named `{family}.OPTION`"
    else:
        having = [entry for entry in entries[family] if option in entry.options]
        if not having:
            known = {name: None for entry in entries[family] for name in entry.options}
            yield unknown(f"option of the grid's entries of `{family}`", option, list(known))
        for entry in having:
            yield from _unfit(entry, option, value, tasks)


def _unfit(entry: Tunable, option: str, value: Any, tasks: list[Tasks]) -> Iterator[str]:
    try:
        domain = entry.domain(option, value)
    except MtlbenchError as error:
        yield str(error)
        return
    for of_dataset in tasks:
        default = entry.default(option, domain, of_dataset)
        if not bound(domain, default).contains(default):
            yield _outside(entry, option, domain, default)


def bound(domain: Domain, default: Any) -> Domain:
    """A domain of weights by task for the tasks, and with the sum, that the default has."""
    if not isinstance(domain, Simplex):
        return domain
    total = sum(default.values())
    return domain.over(tuple(default), None if total == len(default) else total)


def _outside(entry: Tunable, option: str, domain: Domain, default: Any) -> str:
    """The complaint about a domain without the default."""
    return (
        f"must contain the value that {entry.who} has without tuning, since trial 0 has it: "
        f"got {domain}, without {shown(default)} (set `{option}` in the grid's entry, or widen it)"
    )
