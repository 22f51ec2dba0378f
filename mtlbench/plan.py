"""From a grid to its rows and cells."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from itertools import product
from typing import Any, Literal

from mtlbench.balancing import Scalarization
from mtlbench.config import Grid, NamedRecipe, load_grid
from mtlbench.errors import MtlbenchError, mistakes_of
from mtlbench.model import Method
from mtlbench.options import Labelled, build_options, is_for, matches
from mtlbench.protocols.part import Part
from mtlbench.registry import Registry, registry
from mtlbench.spec import Cell, Choice

Role = Literal["reference", "baseline", "candidate"]
NO_BALANCER = Labelled(Choice(name="equal"), "")
"""Of rows where nothing is balanced: references, baselines, one network per task."""
JOINT, SINGLE_TASK = Labelled(Choice(name="joint"), ""), Labelled(Choice(name="single_task"), "")
"""Of rows that no protocol of the grid is asked for."""


@dataclass(frozen=True)
class Setting:
    """What distinguishes one line of a table from the others."""

    dataset: Labelled
    backbone: Labelled
    method: Labelled
    balancer: Labelled
    tuning: Labelled
    protocol: Labelled
    recipe: NamedRecipe

    def labels(self) -> dict[str, str]:
        return {name: getattr(self, name).label for name in self.__dataclass_fields__}


@dataclass(frozen=True)
class Row:
    """One line of a table: a setting, its role, and its cells per seed; or why it is skipped.

    Attributes:
        tasks: evaluated.
        stages: the tasks whose losses train it, stage by stage.
        cells: whose scores make the line; those that they start from are found through them.
        extra: left out where another line holds the same cells.
    """

    role: Role
    labels: dict[str, str]
    tasks: tuple[str, ...]
    stages: tuple[tuple[str, ...], ...] = ()
    cells: dict[int, list[Cell]] = field(default_factory=dict)
    skipped: str | None = None
    extra: bool = False

    def record(self) -> dict[str, Any]:
        """As JSON holds it: cells by their ids, and once, under the first seed, whole."""
        learned = {task for stage in self.stages for task in stage}
        first = next(iter(self.cells.values()), [])
        return {
            "role": self.role,
            "labels": self.labels,
            "tasks": list(self.tasks),
            "trained": [task for task in self.tasks if task in learned],
            "stages": [list(stage) for stage in self.stages],
            "cells": {str(seed): [cell.id for cell in cells] for seed, cells in self.cells.items()},
            "specs": [json.loads(cell.canonical) for cell in first],
            "skipped": self.skipped,
        }


@dataclass(frozen=True)
class Plan:
    """All rows of a grid, in the order of its tables."""

    rows: list[Row]

    @cached_property
    def cells(self) -> list[Cell]:
        """Each cell once, after the one that it starts from; baselines and references first."""
        order: dict[Role, int] = {"baseline": 0, "reference": 1, "candidate": 2}
        rows = sorted(self.rows, key=lambda row: order[row.role])
        found: dict[str, Cell] = {}
        for row in rows:
            for seed in row.cells:
                for cell in row.cells[seed]:
                    for one in cell.lineage:
                        found.setdefault(one.id, one)
        return list(found.values())


def plan_grid(path: str, overrides: Sequence[str], plugins: Sequence[str]) -> tuple[Grid, Plan]:
    """A grid file, checked, and what it stands for.

    Raises:
        MtlbenchError: it holds mistakes, or nothing that can run.
    """
    grid = load_grid(path, registry, overrides=overrides, plugins=plugins)
    with mistakes_of(path):
        planned = expand(grid, registry)
    if not planned.cells:
        reasons = dict.fromkeys(row.skipped for row in planned.rows if row.skipped)
        raise MtlbenchError(f"{path} leaves nothing to run: {'; '.join(reasons) or 'all rows are excluded'}")
    return grid, planned


def expand(grid: Grid, registry: Registry) -> Plan:
    """References and baselines, once per data set, backbone, tuning and recipe, and all candidates."""
    rows: list[Row] = []
    for dataset, backbone, tuning, recipe in product(
        grid.datasets, grid.backbones, grid.tunings, grid.recipes
    ):
        if not is_for(recipe.backbones, backbone):
            continue
        comparisons: list[tuple[Role, Labelled]] = [("reference", method) for method in grid.references]
        comparisons += [("baseline", method) for method in grid.baselines]
        for role, method in comparisons:
            if not is_for(method.backbones, backbone):
                continue
            tuned = grid.baseline_tuning or tuning  # the same for all tunings: repeated, and left out below
            setting = Setting(dataset, backbone, method, NO_BALANCER, tuned, JOINT, recipe)
            rows += _rows(role, setting, grid, registry)
        for method, balancer, protocol in product(grid.methods, grid.balancers, grid.protocols):
            setting = Setting(dataset, backbone, method, balancer, tuning, protocol, recipe)
            if is_for(method.backbones, backbone) and not _excluded(setting, grid.exclude):
                rows += _rows("candidate", setting, grid, registry)
    return Plan(_without_repetition(rows))


def costly_first(cells: list[Cell], registry: Registry) -> list[Cell]:
    """The order that leaves few processors idle at the end.

    Many tasks, per-task gradients, and what others wait for come first.
    """
    costs: dict[str, int] = {}
    for cell in cells:
        rows = not issubclass(registry.load("balancer", cell.balancer.name), Scalarization)
        own = len(cell.tasks) * (3 if rows else 1)
        lineage = cell.lineage
        for waits_for in lineage:
            costs[waits_for.id] = max(costs.get(waits_for.id, 0), own + len(lineage) - 1)
    return sorted(cells, key=lambda cell: costs[cell.id], reverse=True)


def _rows(role: Role, setting: Setting, grid: Grid, registry: Registry) -> list[Row]:
    """The lines of a setting: one, or what its protocol makes of it."""
    method = registry.load("method", setting.method.choice.name)
    if method.one_task:
        setting = replace(setting, protocol=SINGLE_TASK, balancer=NO_BALANCER)
    tasks = grid.tasks or tuple(registry.load("dataset", setting.dataset.choice.name).tasks)
    parts = _parts(setting, tasks, grid.seeds[0], registry)
    own = sum(not part.extra for part in parts)
    rows = []
    for part in parts:
        reasons = (method.unsupported(cell.tasks, cell.backbone.name) for cell in part.cells)
        skipped = next((reason for reason in reasons if reason), None)
        joined = [] if skipped else [_joined(cell, method) for cell in part.cells]
        seeded = [cell.with_seeds(grid.seeds) for cell in joined]
        cells = {seed: [found[seed] for found in seeded] for seed in grid.seeds if seeded}
        labels = setting.labels() | {"protocol": _protocol_label(setting.protocol, part, own)}
        evaluated = tuple(task for task in tasks if any(task in cell.tasks for cell in part.cells))
        rows.append(Row(role, labels, evaluated, part.stages, cells, skipped, part.extra))
    return rows


def _joined(cell: Cell, method: type[Method]) -> Cell:
    """The cell, its first stage after the trained networks of each task that its method is put together of.

    These are the cells of a baseline of the same method, where the grid has one.
    """
    if cell.start is not None:
        return cell.changed(start=cell.start.changed(cell=_joined(cell.start.cell, method)))
    wanted = method.joins(cell.method.options)
    if wanted is None:
        return cell
    name, options = wanted
    alone = cell.changed(
        method=_choice(name, json.dumps(options, sort_keys=True)), balancer=NO_BALANCER.choice, left_out=()
    )
    return cell.changed(joins=tuple(alone.changed(tasks=(task,)) for task in cell.trained))


@cache
def _choice(name: str, options: str) -> Choice:
    """One object for all cells: what tells kinds of cells apart is which objects they are made of."""
    return Choice(name=name, options=json.loads(options))


def _parts(setting: Setting, tasks: tuple[str, ...], seed: int, registry: Registry) -> list[Part]:
    protocol = setting.protocol.choice
    shared = {
        "dataset": setting.dataset.choice,
        "backbone": setting.backbone.choice,
        "method": setting.method.choice,
        "balancer": setting.balancer.choice,
        "tuning": setting.tuning.choice,
        "recipe": setting.recipe.recipe,
        "seed": seed,
    }
    options = build_options(registry, "protocol", protocol)
    try:
        parts: list[Part] = registry.load("protocol", protocol.name)(shared, tasks, **options)
    except MtlbenchError as error:
        raise MtlbenchError(f"protocol {protocol}: {error}") from error
    return parts


def _protocol_label(protocol: Labelled, part: Part, own: int) -> str:
    """The entry's own label, where it has one; a part's where the protocol makes several lines."""
    if protocol.label in ("", str(protocol.choice)):
        return part.label or protocol.label
    return protocol.label if own == 1 and not part.extra else f"{protocol.label}: {part.label}"


def _excluded(setting: Setting, exclude: list[dict[str, str]]) -> bool:
    """An entry excludes what matches all of its patterns, by name or by label."""
    return any(
        all(matches(getattr(setting, axis), pattern) for axis, pattern in entry.items()) for entry in exclude
    )


def _without_repetition(rows: list[Row]) -> list[Row]:
    """The first of rows that stand for the same cells (a baseline that is also listed as a method, say).

    Two protocols may well mean the same cells: their rows stay, under their labels.
    """
    held = {_content(row) for row in rows if not row.extra}
    seen: set[str] = set()
    kept = []
    for row in rows:
        content = _content(row)
        key = f"{content} {row.labels['protocol']}"
        if key in seen or content in seen or (row.extra and content in held):
            continue
        kept.append(row)
        seen |= {key} if row.role == "candidate" else {key, content}
    return kept


def _content(row: Row) -> str:
    """What its cells are: all rows of a grid have the same seeds, so the first tells."""
    first = next(iter(row.cells.values()), None)
    return str(row.labels) if first is None else " ".join(cell.id for cell in first)
