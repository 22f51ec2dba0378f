"""One network per task."""

from __future__ import annotations

from mtlbench.protocols.part import Part, Shared, Tasks
from mtlbench.spec import Cell


def single_task(shared: Shared, tasks: Tasks) -> list[Part]:
    """One network per task: what a multi-task network is compared with."""
    return [Part([Cell(tasks=(task,), **shared) for task in tasks], (tasks,))]
