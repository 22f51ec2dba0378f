"""Checks of options that several balancers share."""

from collections.abc import Mapping

import torch
from torch import Tensor

from mtlbench.errors import MtlbenchError
from mtlbench.registry import unknown
from mtlbench.tasks import Tasks


def require_choice(balancer: str, option: str, value: str, valid: tuple[str, ...]) -> None:
    """Raises an error that names all valid choices."""
    if value not in valid:
        raise MtlbenchError(
            f"`{option}` of balancer `{balancer}` must be one of {', '.join(valid)}, got {value!r}"
        )


def require_positive(balancer: str, **values: float) -> None:
    """Raises an error for the first option whose value is not > 0."""
    for option, value in values.items():
        if not value > 0:
            raise MtlbenchError(f"`{option}` of balancer `{balancer}` must be > 0, got {value}")


def values_by_task(
    balancer: str,
    option: str,
    tasks: Tasks,
    given: Mapping[str, float] | None,
    default: float | Mapping[str, float],
) -> Tensor:
    """(T,) float64 in the order of the tasks; tasks that are not given have the default, or their own."""
    for name in given or {}:
        if name not in tasks:
            raise MtlbenchError(f"`{option}` of balancer `{balancer}`: {unknown('task', name, list(tasks))}")
    values = dict(default) if isinstance(default, Mapping) else dict.fromkeys(tasks, default)
    values |= given or {}
    return torch.tensor([values[name] for name in tasks], dtype=torch.float64)
