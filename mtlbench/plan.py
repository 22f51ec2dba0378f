"""From a grid to its rows and cells."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from fnmatch import fnmatch
from itertools import product
from typing import Any, Literal

from mtlbench.balancing import Scalarization
from mtlbench.config import Grid, NamedRecipe
from mtlbench.options import Labelled
from mtlbench.registry import Registry
from mtlbench.spec import Cell, Choice

Role = Literal["reference", "baseline", "candidate"]
NO_BALANCER = Labelled(Choice(name="equal"), "")
"""Of rows where nothing is balanced: references, baselines, one network per task."""


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
    """One line of a table: a setting, its role, and its cells per seed; or why it is skipped."""

    role: Role
    labels: dict[str, str]
    tasks: tuple[str, ...]
    cells: dict[int, list[Cell]] = field(default_factory=dict)
    skipped: str | None = None

    def record(self) -> dict[str, Any]:
        """As JSON holds it: cells by their ids."""
        cells = {str(seed): [cell.id for cell in cells] for seed, cells in self.cells.items()}
        return {**asdict(self), "tasks": list(self.tasks), "cells": cells}


@dataclass(frozen=True)
class Plan:
    """All rows of a grid, in the order of its tables."""

    rows: list[Row]

    @property
    def cells(self) -> list[Cell]:
        """Each cell once, baselines and references first."""
        order: dict[Role, int] = {"baseline": 0, "reference": 1, "candidate": 2}
        rows = sorted(self.rows, key=lambda row: order[row.role])
        cells = {cell.id: cell for row in rows for seed in row.cells for cell in row.cells[seed]}
        return list(cells.values())


def expand(grid: Grid, registry: Registry) -> Plan:
    """References and baselines, once per data set, backbone, tuning and recipe, and all candidates."""
    rows: list[Row] = []
    for dataset, backbone, tuning, recipe in product(
        grid.datasets, grid.backbones, grid.tunings, grid.recipes
    ):
        comparisons: list[tuple[Role, Labelled]] = [("reference", method) for method in grid.references]
        comparisons += [("baseline", method) for method in grid.baselines]
        for role, method in comparisons:
            protocol = Labelled(Choice(name="joint"), grid.protocols[0].label)
            setting = Setting(dataset, backbone, method, NO_BALANCER, tuning, protocol, recipe)
            rows.append(_row(role, setting, grid, registry))
        for method, balancer, protocol in product(grid.methods, grid.balancers, grid.protocols):
            setting = Setting(dataset, backbone, method, balancer, tuning, protocol, recipe)
            if not _excluded(setting, grid.exclude):
                rows.append(_row("candidate", setting, grid, registry))
    return Plan(_without_repetition(rows))


def costly_first(cells: list[Cell], registry: Registry) -> list[Cell]:
    """The order that leaves few processors idle at the end: many tasks and per-task gradients first."""

    def cost(cell: Cell) -> int:
        rows = not issubclass(registry.load("balancer", cell.balancer.name), Scalarization)
        return len(cell.tasks) * (3 if rows else 1)

    return sorted(cells, key=cost, reverse=True)


def _row(role: Role, setting: Setting, grid: Grid, registry: Registry) -> Row:
    method = registry.load("method", setting.method.choice.name)
    if method.one_task:
        protocol = Labelled(Choice(name="single_task"), setting.protocol.label)
        setting = replace(setting, protocol=protocol, balancer=NO_BALANCER)
    tasks = grid.tasks or tuple(registry.load("dataset", setting.dataset.choice.name).tasks)
    expand_protocol = registry.load("protocol", setting.protocol.choice.name)
    cells: dict[int, list[Cell]] = {}
    for seed in grid.seeds:
        shared = {
            "dataset": setting.dataset.choice,
            "backbone": setting.backbone.choice,
            "method": setting.method.choice,
            "balancer": setting.balancer.choice,
            "tuning": setting.tuning.choice,
            "recipe": setting.recipe.recipe,
            "seed": seed,
        }
        cells[seed] = expand_protocol(shared, tasks)
    reasons = (method.unsupported(cell.tasks, cell.backbone.name) for cell in cells[grid.seeds[0]])
    skipped = next((reason for reason in reasons if reason), None)
    return Row(role, setting.labels(), tasks, {} if skipped else cells, skipped)


def _excluded(setting: Setting, exclude: list[dict[str, str]]) -> bool:
    """An entry excludes what matches all of its patterns, by name or by label."""
    return any(
        all(
            fnmatch(getattr(setting, axis).label, pattern)
            or fnmatch(getattr(setting, axis).choice.name, pattern)
            for axis, pattern in entry.items()
        )
        for entry in exclude
    )


def _without_repetition(rows: list[Row]) -> list[Row]:
    """The first of rows that stand for the same cells (a baseline that is also listed as a method, say)."""
    seen: set[str] = set()
    kept = []
    for row in rows:
        key = str(row.record()["cells"]) if row.cells else str(row.labels)
        if key not in seen:
            kept.append(row)
        seen.add(key)
    return kept
