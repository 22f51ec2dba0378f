"""Protocols: which networks a setting means, as cells.

A protocol takes the parts that all its cells share and the tasks, and returns the cells.
"""

from __future__ import annotations

from typing import Any

from mtlbench.spec import Cell


def joint(shared: dict[str, Any], tasks: tuple[str, ...]) -> list[Cell]:
    """One network for all tasks, trained on the sum of their balanced losses."""
    return [Cell(tasks=tasks, **shared)]


def single_task(shared: dict[str, Any], tasks: tuple[str, ...]) -> list[Cell]:
    """One network per task: what a multi-task network is compared with."""
    return [Cell(tasks=(task,), **shared) for task in tasks]


plugins = {"protocol": {"joint": joint, "single_task": single_task}}
