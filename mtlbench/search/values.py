"""From a trial's parameters, as samplers draw them, to the values that its cells have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mtlbench.search.spaces import Domain


class Known:
    """Stands for an Optuna trial whose parameters are known.

    Args:
        parameters: by their flat names (`recipe.lr`, `balancer.weights.semseg`).
    """

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        self._parameters = parameters

    def suggest_float(self, name: str, *_: Any, **__: Any) -> Any:
        """As Optuna's trials do, whatever the domain."""
        return self._parameters[name]

    suggest_int = suggest_categorical = suggest_float


def values_of(space: Mapping[str, Domain], defaults: Mapping[str, Any], trial: Any) -> dict[str, Any]:
    """Tuned key -> value: of the default exactly what it is, so that it is the same cell as everywhere.

    Args:
        space: tuned key -> its domain.
        defaults: tuned key -> value without tuning.
        trial: of Optuna, or a known one.
    """
    found = {key: domain.suggest(trial, key) for key, domain in space.items()}
    return {
        key: defaults[key] if space[key].same(value, defaults[key]) else value for key, value in found.items()
    }


def flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Weights by task one by one: `balancer.weights.semseg`."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= (
            {f"{key}.{task}": w for task, w in value.items()} if isinstance(value, dict) else {key: value}
        )
    return found
