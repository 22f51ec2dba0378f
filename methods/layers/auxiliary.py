"""Tasks that help others: with intermediate predictions and losses, but no final prediction."""

from collections.abc import Iterable, Sequence

from mtlbench.errors import MtlbenchError


def main_tasks(tasks: Iterable[str], auxiliary: Sequence[str], *, method: str) -> tuple[str, ...]:
    """The tasks that are not auxiliary, in their order.

    Raises:
        MtlbenchError: `auxiliary` names others than these tasks, or all of them.
    """
    given = tuple(tasks)
    strange = [name for name in auxiliary if name not in given]
    main = tuple(name for name in given if name not in auxiliary)
    if strange or not main:
        raise MtlbenchError(
            f"`auxiliary` of {method} must name some of the tasks ({', '.join(given)}) and leave one or more "
            f"to predict, got {', '.join(auxiliary)}"
        )
    return main
