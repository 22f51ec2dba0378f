"""One network for each of several sets of tasks."""

from __future__ import annotations

from itertools import combinations

from mtlbench.errors import MtlbenchError
from mtlbench.protocols.part import Part, Shared, Tasks, chosen, named
from mtlbench.spec import Cell

MOST_TASKS = 10
"""All subsets of more are thousands of networks: then they have to be named."""


def subsets(
    shared: Shared,
    tasks: Tasks,
    *,
    sets: tuple[Tasks, ...] | None = None,
    sizes: tuple[int, ...] | None = None,
) -> list[Part]:
    """One network for each set of tasks: which tasks should be learned together?

    After Standley et al., "Which Tasks Should Be Learned Together in Multi-task Learning?", ICML 2020.

    Args:
        shared: see `mtlbench.protocols.part`.
        tasks: of the grid.
        sets: of tasks; default: all subsets.
        sizes: of all subsets only those of so many tasks.

    Raises:
        MtlbenchError: a set holds unknown tasks, or there would be very many.
    """
    if sets is not None and sizes is not None:
        raise MtlbenchError("`subsets` takes `sets` or `sizes`, not both")
    if sets is None and len(tasks) > MOST_TASKS and not sizes:
        raise MtlbenchError(f"all subsets of {len(tasks)} tasks are too many: give `sets` or `sizes`")
    for size in sizes or ():
        if not 1 <= size <= len(tasks):
            raise MtlbenchError(f"`sizes` must be from 1 to {len(tasks)}, the number of tasks, got {size}")
    if sets is None:
        wanted = [
            s
            for size in sorted(set(range(1, len(tasks) + 1) if sizes is None else sizes))
            for s in combinations(tasks, size)
        ]
    else:
        wanted = list(dict.fromkeys(chosen(f"sets[{i}]", s, tasks) for i, s in enumerate(sets)))
    if not wanted:
        raise MtlbenchError(f"`{'sizes' if sets is None else 'sets'}` of `subsets` must not be empty")
    return [Part([Cell(tasks=found, **shared)], (found,), named(found)) for found in wanted]
