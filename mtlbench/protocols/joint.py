"""One network for all tasks."""

from __future__ import annotations

from mtlbench.protocols.part import Part, Shared, Tasks, chosen
from mtlbench.spec import Cell


def joint(shared: Shared, tasks: Tasks, *, train: Tasks | None = None) -> list[Part]:
    """One network for all tasks, trained on the sum of their balanced losses.

    Args:
        shared: see `mtlbench.protocols.part`.
        tasks: of the grid.
        train: only these of them.
    """
    found = tasks if train is None else chosen("train", train, tasks)
    return [Part([Cell(tasks=found, **shared)], (found,))]
