"""All tasks have a head, one is not trained."""

from __future__ import annotations

from mtlbench.errors import MtlbenchError
from mtlbench.protocols.part import Part, Shared, Stage, Tasks, Trains, chosen
from mtlbench.spec import Cell


def leave_one_out(
    shared: Shared,
    tasks: Tasks,
    *,
    leave: Tasks | None = None,
    then_add: bool = False,
    iterations: int | None = None,
    epochs: int | None = None,
    share: float | None = None,
    lr: float | None = None,
    trains: Trains = "all",
) -> list[Part]:
    """All heads are there and all tasks are evaluated, but one task's loss is left out.

    The head that is not trained predicts what its random weights say: its score is that of no training.

    Args:
        shared: see `mtlbench.protocols.part`.
        tasks: of the grid.
        leave: these are left out, one after the other; default: each.
        then_add: go on from there with the loss of the task that was left out.
        iterations: of that second stage; default: the recipe's.
        epochs: of that second stage, in place of iterations.
        share: of the recipe's length, in place of both.
        lr: of that second stage; default: the recipe's.
        trains: in that second stage: everything, what the first did not train, or all but the backbone.

    Raises:
        MtlbenchError: unknown tasks, or fewer than two.
    """
    if len(tasks) < 2:
        raise MtlbenchError(f"`leave_one_out` needs at least two tasks, got {list(tasks)}")
    stage, parts = Stage(iterations, epochs, share, lr, trains), []
    for task in tasks if leave is None else chosen("leave", leave, tasks):
        others = tuple(t for t in tasks if t != task)
        cell = Cell(tasks=tasks, left_out=(task,), **shared)
        parts.append(Part([cell], (others,), f"without {task}"))
        if then_add:
            parts.append(
                Part([stage.after(cell, tasks)], (others, tasks), f"without {task}, then {task}{stage.note}")
            )
    return parts
