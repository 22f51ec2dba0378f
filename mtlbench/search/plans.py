"""From a grid with the key `tune` to its studies: one for each setting that has anything to tune."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

from mtlbench.building import learned_tasks
from mtlbench.config import Grid
from mtlbench.errors import MtlbenchError
from mtlbench.plan import JOINT, NO_BALANCER, Role, Row, Setting, expand
from mtlbench.registry import Registry
from mtlbench.search.checks import RECIPE, bound, space_problems
from mtlbench.search.settings import TuneSettings
from mtlbench.search.spaces import DECLARED, Domain, Simplex
from mtlbench.search.tunable import FAMILIES, Tunable, TunablePlugin, TunableRecipe
from mtlbench.spec import Cell

LONGEST_NAME = 120


@dataclass(frozen=True)
class StudyPlan:
    """One study: a setting of a grid, and what of it is tuned.

    Attributes:
        name: readable, and fit for a file; it changes with whatever makes trials incomparable.
        setting: with the values that it has without tuning.
        tasks: evaluated.
        space: tuned key (`balancer.weights`) -> its domain.
        defaults: tuned key -> value without tuning, which trial 0 has.
        settings: the key `tune`.
    """

    name: str
    setting: Setting
    tasks: tuple[str, ...]
    space: dict[str, Domain]
    defaults: dict[str, Any]
    settings: TuneSettings
    grid: Grid = field(repr=False, compare=False)
    registry: Registry = field(repr=False, compare=False)

    def cells(self, values: Mapping[str, Any], seed: int, holdout: float = 0.0) -> list[Cell]:
        """What a trial with these values runs under one seed; values left out are the default's.

        Raises:
            MtlbenchError: a value is not legal, or the method can't do it.
        """
        row = _row("candidate", self.changed(values), self.grid, self.registry, seed)
        if row is None or row.skipped:
            raise MtlbenchError(f"study {self.name}: {row.skipped if row else 'the grid leaves it out'}")
        return [cell.held_out(holdout) for cell in row.cells[seed]]

    def baseline_cells(self, seed: int, holdout: float = 0.0) -> list[Cell]:
        """What the gain of trials is measured against: the grid's baseline, untuned; none: no cells."""
        row = _row("baseline", self.setting, self.grid, self.registry, seed)
        return [] if row is None or row.skipped else [cell.held_out(holdout) for cell in row.cells[seed]]

    def corners(self, seed: int, holdout: float = 0.0) -> list[Cell]:
        """The cells of trials with one value at an end of its domain: to be built before anything runs."""
        changes = [{key: end} for key, domain in self.space.items() for end in domain.ends()]
        return [cell for values in changes for cell in self.cells(values, seed, holdout)]

    def changed(self, values: Mapping[str, Any]) -> Setting:
        """The setting with these values; entries that differ from the grid's are labelled as tuned."""
        groups = self._groups(values)
        return replace(
            self.setting, **{family: entry.changed(groups[family]) for family, entry in self._tuned()}
        )

    def fragment(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The part of a grid file that says the same: whole entries of whatever is tuned."""
        groups = self._groups(values)
        return {family: entry.entry(groups[family]) for family, entry in self._tuned()}

    def _tuned(self) -> Iterator[tuple[str, Tunable]]:
        """The entries that have a tuned key."""
        entries = _entries(self.setting, self.registry)
        families = dict.fromkeys(key.partition(".")[0] for key in self.space)
        return ((family, entries[family]) for family in families)

    def _groups(self, values: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """Family -> option -> value, of those that differ from the default: what doesn't stays as it is."""
        groups: dict[str, dict[str, Any]] = {key.partition(".")[0]: {} for key in self.space}
        for key, value in values.items():
            if not self.space[key].same(value, self.defaults[key]):
                family, _, option = key.partition(".")
                groups[family][option] = value
        return groups


@dataclass(frozen=True)
class Studies:
    """All of a grid.

    Attributes:
        plans: of the settings that have something to tune, in the order of the table.
        left_out: labels of the others, with the reason.
    """

    plans: list[StudyPlan]
    left_out: dict[str, str]


def grid_of_one(grid: Grid, setting: Setting) -> Grid:
    """The grid with this setting, trained jointly, as its only candidate, beside the setting's baselines."""
    return replace(
        grid,
        datasets=[setting.dataset],
        backbones=[setting.backbone],
        tunings=[setting.tuning],
        recipes=[setting.recipe],
        methods=[setting.method],
        balancers=[setting.balancer],
        protocols=[JOINT],
        references=[],
    )


def studies_of(grid: Grid, registry: Registry) -> list[StudyPlan]:
    """One study for each data set, backbone, method, balancer, tuning and recipe with anything to tune.

    Trials train all tasks jointly, whatever protocols the grid has.

    Raises:
        MtlbenchError: there is none, or the grid's `tune` is wrong.
    """
    found = plan_studies(grid, registry)
    if not found.plans:
        reasons = "; ".join(dict.fromkeys(found.left_out.values())) or "all rows are excluded"
        raise MtlbenchError(f"grid {grid.name} has nothing to tune: {reasons}")
    return found.plans


def plan_studies(grid: Grid, registry: Registry) -> Studies:
    """As `studies_of`, with what is left out and why.

    Raises:
        MtlbenchError: the grid has no key `tune`, and what is tuned by default doesn't fit it; or there is no
            baseline to compare with.
    """
    settings = grid.tune or _default_settings(grid, registry)
    plans: dict[str, StudyPlan] = {}
    left_out: dict[str, str] = {}
    axes = (grid.datasets, grid.backbones, grid.tunings, grid.recipes, grid.methods, grid.balancers)
    for dataset, backbone, tuning, recipe, method, balancer in product(*axes):
        setting = Setting(dataset, backbone, method, balancer, tuning, JOINT, recipe)
        row = _row("candidate", setting, grid, registry, settings.seeds[0])
        if row is None:
            continue
        plan = None if row.skipped else _plan(setting, row, settings, grid, registry)
        if plan is None:
            label = " · ".join(filter(None, row.labels.values()))
            left_out[label] = row.skipped or f"{label}: no tuned option"
        else:
            plans.setdefault(plan.name.rpartition("-")[2], plan)
    return Studies(list(plans.values()), left_out)


def _default_settings(grid: Grid, registry: Registry) -> TuneSettings:
    settings = TuneSettings().seeded(grid.seeds)
    axes = {
        name: getattr(grid, name) for name in ("datasets", "balancers", "methods", "tunings", "baselines")
    }
    if problems := space_problems(registry, settings, grid.recipes, axes, grid.tasks):
        raise MtlbenchError(f"grid {grid.name}: " + "; ".join(map(str, problems)))
    return settings


def _plan(
    setting: Setting, row: Row, settings: TuneSettings, grid: Grid, registry: Registry
) -> StudyPlan | None:
    seed = settings.seeds[0]
    cell = row.cells[seed][0]
    known = registry.load("dataset", cell.dataset.name).tasks
    tasks = {name: known[name] for name in learned_tasks(cell)}
    one_task = registry.load("method", cell.method.name).one_task
    if one_task:  # nothing to balance
        setting = replace(setting, balancer=NO_BALANCER)
    space: dict[str, Domain] = {}
    defaults: dict[str, Any] = {}
    for family, entry in _entries(setting, registry).items():
        if one_task and family == "balancer":
            continue
        for option, domain in _domains(family, entry, settings.space).items():
            default = entry.default(option, domain, tasks)
            if not isinstance(domain, Simplex) or len(default) > 1:
                space[f"{family}.{option}"] = bound(domain, default)
                defaults[f"{family}.{option}"] = default
    if not space:
        return None
    alone = replace(grid, exclude=[])  # that is about the grid's own rows: trials may have another balancer
    plan = StudyPlan("", setting, row.tasks, space, defaults, settings, alone, registry)
    if settings.objective == "delta_m" and not plan.baseline_cells(seed):
        raise MtlbenchError(f"grid {grid.name} has no baseline for {setting.backbone.label}: name one for it")
    return replace(plan, name=_name(plan))


def _entries(setting: Setting, registry: Registry) -> dict[str, Tunable]:
    entries: dict[str, Tunable] = {
        family: TunablePlugin(registry, family, getattr(setting, family)) for family in FAMILIES
    }
    return entries | {RECIPE: TunableRecipe(setting.recipe)}


def _domains(family: str, entry: Tunable, space: Mapping[str, Any]) -> dict[str, Domain]:
    """Those of one entry: what it declares, if that is asked for, and what the grid file names."""
    found = dict(entry.declared) if space.get(family) == DECLARED else {}
    for key, value in space.items():
        of, _, option = key.partition(".")
        if of == family and option and option in entry.options:
            found[option] = entry.domain(option, value)
    return found


def _row(role: Role, setting: Setting, grid: Grid, registry: Registry, seed: int) -> Row | None:
    """The line of a table that a setting makes under one seed, or that of its baseline."""
    alone = replace(grid_of_one(grid, setting), seeds=[seed])
    alone = replace(alone, baselines=[]) if role == "candidate" else replace(alone, methods=[])
    return next(iter(expand(alone, registry).rows), None)


def _name(plan: StudyPlan) -> str:
    """Readable, then a hash of what makes trials comparable."""
    settings, seed = plan.settings, plan.settings.seeds[0]
    content = {
        "cells": [cell.canonical for cell in plan.cells({}, seed)],
        "baseline": [cell.canonical for cell in plan.baseline_cells(seed)],
        "space": {key: domain.to_dict() for key, domain in plan.space.items()},
        "objective": settings.objective,
        "holdout": settings.holdout,
        "seeds": settings.seeds,
    }
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]
    setting = plan.setting
    parts = [plan.grid.name, setting.dataset.choice.name, setting.backbone.choice.name]
    parts += [setting.method.label, setting.balancer.label]
    parts += [setting.recipe.label] if len(plan.grid.recipes) > 1 else []
    parts += [setting.tuning.label] if len(plan.grid.tunings) > 1 else []
    readable = re.sub(r"[^A-Za-z0-9_.-]+", "_", "-".join(filter(None, parts))).strip("_.-")[:LONGEST_NAME]
    return f"{readable}-{digest}"
