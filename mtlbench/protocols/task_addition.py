"""Tasks are added to a trained network."""

from __future__ import annotations

from mtlbench.errors import MtlbenchError
from mtlbench.protocols.part import Part, Shared, Stage, Tasks, Trains, chosen, named
from mtlbench.spec import Cell


def task_addition(
    shared: Shared,
    tasks: Tasks,
    *,
    base: Tasks,
    add: Tasks,
    iterations: int | None = None,
    epochs: int | None = None,
    share: float | None = None,
    lr: float | None = None,
    trains: Trains = "all",
) -> list[Part]:
    """Train a base set, then add tasks one by one with new heads, and train on.

    Args:
        shared: see `mtlbench.protocols.part`.
        tasks: of the grid.
        base: trained first, as `joint` would.
        add: added in this order, a stage each.
        iterations: of each stage; default: the recipe's.
        epochs: of each stage, in place of iterations.
        share: of the recipe's length, in place of both.
        lr: of each stage; default: the recipe's. Every stage runs the recipe's schedule from its beginning.
        trains: in the stages: everything, what the base did not have (new heads), or all but the backbone.

    Raises:
        MtlbenchError: unknown tasks, or a task in both `base` and `add`.
    """
    known = chosen("base", base, tasks)
    both = [task for task in chosen("add", add, tasks) if task in known]
    if both:
        raise MtlbenchError(f"`add` must name tasks that are not in `base`, got {both}")
    stage = Stage(iterations, epochs, share, lr, trains)
    cell = Cell(tasks=known, **shared)
    parts = [Part([cell], (known,), named(known), extra=True)]
    for task in add:
        known = tuple(t for t in tasks if t in (*known, task))
        cell = stage.after(cell, known)
        before = parts[-1]
        label = f"{before.label}, then {task}{stage.note}"
        parts.append(Part([cell], (*before.stages, known), label, extra=task != add[-1]))
    return parts
