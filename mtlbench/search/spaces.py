"""Between which values an option may be tuned.

Plugins declare such domains (`search_space`), grid files write them. They speak to an Optuna trial by its
`suggest_...` methods only, so that neither they nor who declares them import Optuna.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from mtlbench.errors import MtlbenchError
from mtlbench.options import shown
from mtlbench.registry import unknown

DIGITS = 4
"""Significant ones of a suggested number: ids, labels and fragments of grid files stay readable."""
_ENDS, _SWITCHES = ("low", "high"), ("log", "whole")
"""Keys of a range in a grid file."""
DECLARED = "declared"
"""What a grid file writes for the domain that a plugin declares."""


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included.

    Attributes:
        low: smallest value.
        high: largest value.
        log: numbers of all sizes are equally likely; `low` must be > 0.
        whole: whole numbers only.
        step: between neighbouring values, counted from `low`; it ends at `high`.

    Raises:
        MtlbenchError: there is no such range.
    """

    low: float
    high: float
    log: bool = False
    whole: bool = False
    step: float | None = None

    def __post_init__(self) -> None:
        _check_ends(self.low, self.high, positive=self.log)
        given = [self.low, self.high, *([] if self.step is None else [self.step])]
        if self.whole and any(value != int(value) for value in given):
            raise MtlbenchError(f"must have whole numbers as ends and step, got {_listed(given)}")
        if self.step is not None:
            self._check_step(self.step)

    def _check_step(self, step: float) -> None:
        if self.log:
            raise MtlbenchError("must have `log` or `step`, not both")
        steps = (self.high - self.low) / step if step > 0 else 0
        if round(steps) < 1 or not math.isclose(steps, round(steps), rel_tol=1e-6):
            found = f"{step:g} from {self.low:g} to {self.high:g}"
            raise MtlbenchError(
                f"must have a `step` > 0 of which a whole number leads to `high`, got {found}"
            )

    def suggest(self, trial: Any, name: str) -> float:
        """The value that an Optuna trial takes for the parameter `name`."""
        if self.whole:
            step = 1 if self.step is None else int(self.step)
            return int(trial.suggest_int(name, int(self.low), int(self.high), step=step, log=self.log))
        value = trial.suggest_float(name, self.low, self.high, step=self.step, log=self.log)
        return min(max(rounded(value), self.low), self.high)

    def parameters(self, value: float, name: str) -> dict[str, Any]:
        """The parameters of a trial for which `suggest` gives this value."""
        return {name: int(value) if self.whole else float(value)}

    def contains(self, value: Any) -> bool:
        if not _is_number(value) or not self.low <= value <= self.high:
            return False
        step = self.step or (1 if self.whole else None)
        return step is None or math.isclose((d := (value - self.low) / step), round(d), abs_tol=1e-6)

    def same(self, one: Any, other: Any) -> bool:
        """Whether two values stand for the same setting, as suggested numbers are rounded."""
        return bool(_is_number(one) and _is_number(other) and rounded(one) == rounded(other))

    def ends(self) -> list[Any]:
        """Values between which all others lie."""
        return [int(end) if self.whole else end for end in (self.low, self.high)]

    def to_dict(self) -> dict[str, Any]:
        """As grid files write it."""
        kinds = {"log": self.log, "whole": self.whole, "step": self.step}
        low, high = self.ends()
        return {"low": low, "high": high} | {kind: value for kind, value in kinds.items() if value}

    def __str__(self) -> str:
        kinds = [*(["log"] if self.log else []), *([f"step {self.step:g}"] if self.step else [])]
        return " ".join([f"{self.low:g} to {self.high:g}", *([f"({', '.join(kinds)})"] if kinds else [])])


@dataclass(frozen=True)
class OneOf:
    """One of several values, without an order.

    Raises:
        MtlbenchError: there are fewer than two different ones.
    """

    values: Sequence[Any]

    def __post_init__(self) -> None:
        texts = [json.dumps(value) for value in self.values]
        if len(texts) < 2 or len(set(texts)) < len(texts):
            raise MtlbenchError(f"must have at least two different values, got {shown(list(self.values))}")

    def suggest(self, trial: Any, name: str) -> Any:
        """The value that an Optuna trial takes for the parameter `name`."""
        token = trial.suggest_categorical(name, [_token(value) for value in self.values])
        return next(value for value in self.values if _token(value) == token)

    def parameters(self, value: Any, name: str) -> dict[str, Any]:
        """The parameters of a trial for which `suggest` gives this value."""
        return {name: _token(next(known for known in self.values if self.same(known, value)))}

    def contains(self, value: Any) -> bool:
        return any(self.same(known, value) for known in self.values)

    def same(self, one: Any, other: Any) -> bool:
        """Whether two values stand for the same setting; 2 is 2.0, but true is not 1."""
        return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)

    def ends(self) -> list[Any]:
        """All values."""
        return list(self.values)

    def to_dict(self) -> dict[str, Any]:
        """As grid files may write it."""
        return {"values": list(self.values)}

    def __str__(self) -> str:
        return "one of " + ", ".join(str(value) for value in self.values)


@dataclass(frozen=True)
class Simplex:
    """A weight > 0 for each task, whose sum stays the same: only their ratios are tuned.

    Each task's weight is drawn between `low` and `high`, all sizes equally likely; then they are divided by
    their sum and multiplied with `total`. The scale of the losses, which acts like the learning rate, is thus
    the default's.

    Attributes:
        low: smallest weight before that.
        high: largest weight before that.
        tasks: that have a weight; plugins and grid files leave them open.
        total: the sum of all weights; default: the number of tasks.

    Raises:
        MtlbenchError: there is no such range.
    """

    low: float
    high: float
    tasks: tuple[str, ...] = ()
    total: float | None = None

    def __post_init__(self) -> None:
        _check_ends(self.low, self.high, positive=True)

    def over(self, tasks: Sequence[str], total: float | None = None) -> Simplex:
        """The same for these tasks."""
        return replace(self, tasks=tuple(tasks), total=total)

    def suggest(self, trial: Any, name: str) -> dict[str, float]:
        """The weights that an Optuna trial takes, from a parameter `name.TASK` for each task."""
        raw = {t: trial.suggest_float(f"{name}.{t}", self.low, self.high, log=True) for t in self.tasks}
        return self.normalised(raw)

    def parameters(self, value: Mapping[str, float], name: str) -> dict[str, Any]:
        """The parameters of a trial for which `suggest` gives these weights, around the domain's middle."""
        smallest, largest = min(value.values()), max(value.values())
        middle = math.sqrt(self.low * self.high) / math.sqrt(smallest * largest)
        factor = min(max(middle, self.low / smallest), self.high / largest)
        return {f"{name}.{t}": min(max(value[t] * factor, self.low), self.high) for t in self.tasks}

    def contains(self, value: Any) -> bool:
        if not isinstance(value, Mapping) or set(value) != set(self.tasks):
            return False
        if not all(_is_number(weight) and weight > 0 for weight in value.values()):
            return False
        span = max(value.values()) / min(value.values())
        return span <= self.high / self.low * (1 + 1e-9)

    def same(self, one: Any, other: Any) -> bool:
        """Whether two weightings stand for the same setting, as suggested numbers are rounded."""
        return set(one) == set(other) and all(rounded(one[t]) == rounded(other[t]) for t in one)

    def normalised(self, weights: Mapping[str, float]) -> dict[str, float]:
        """The same ratios with the sum `total`, rounded."""
        factor = (len(self.tasks) if self.total is None else self.total) / sum(weights.values())
        return {task: rounded(weight * factor) for task, weight in weights.items()}

    def ends(self) -> list[Any]:
        """For each task the weights of which its own is the largest possible."""
        return [
            self.normalised({task: self.high if task == most else self.low for task in self.tasks})
            for most in self.tasks
        ]

    def to_dict(self) -> dict[str, Any]:
        """As grid files write it, with the tasks."""
        tasks: dict[str, Any] = {"tasks": list(self.tasks)} if self.tasks else {}
        return {"low": self.low, "high": self.high, **tasks}

    def __str__(self) -> str:
        return f"a weight for each task, {self.low:g} to {self.high:g} (log), their sum kept"


Domain = Range | OneOf | Simplex


def domains(**by_option: Domain) -> Mapping[str, Domain]:
    """What a plugin declares as its `search_space`."""
    return MappingProxyType(by_option)


def parse_domain(value: Any, declared: Domain | None = None) -> Domain:
    """What a grid file writes: `{low, high, log, whole, step}`, or a list of values.

    Args:
        value: as read.
        declared: the plugin's own domain; where it is of weights by task, so is `{low, high}`.

    Raises:
        MtlbenchError: it is neither, or there is no such domain.
    """
    if value == DECLARED and declared is not None:
        return declared
    if isinstance(value, dict) and set(value) == {"values"}:
        value = value["values"]
    if isinstance(value, list):
        return OneOf(tuple(value))
    if not isinstance(value, dict):
        form = "a list of values, or a range such as {low: 0.1, high: 10, log: true}"
        raise MtlbenchError(f"must be {form}, got {shown(value)}")
    by_task = isinstance(declared, Simplex)
    valid = _ENDS if by_task else (*_ENDS, *_SWITCHES, "step")
    for key in value:
        if key not in valid:
            raise MtlbenchError(unknown("key of a range", str(key), valid))
    missing = [key for key in _ENDS if key not in value]
    if missing:
        raise MtlbenchError(f"needs {' and '.join(f'`{key}`' for key in missing)}")
    _check_types(value)
    return Simplex(**value) if by_task else Range(**value)


def read_domain(written: Mapping[str, Any]) -> Domain:
    """The domain that `to_dict` wrote; weights by task get back their tasks, but not their sum."""
    if "tasks" in written:
        return Simplex(written["low"], written["high"], tuple(written["tasks"]))
    return parse_domain(dict(written))


def rounded(value: float) -> float:
    """To the digits that suggested numbers have."""
    return float(f"{value:.{DIGITS}g}")


def _check_types(value: Mapping[str, Any]) -> None:
    for key, part in value.items():
        if key in _SWITCHES:
            if not isinstance(part, bool):
                raise MtlbenchError(f"must have true or false as `{key}`, got {shown(part)}")
        elif not _is_number(part) and not (key == "step" and part is None):
            raise MtlbenchError(f"must have a finite number as `{key}`, got {shown(part)}")


def _check_ends(low: float, high: float, *, positive: bool) -> None:
    if not low < high:
        raise MtlbenchError(f"must have `low` < `high`, got {low:g} and {high:g}")
    if positive and not low > 0:
        raise MtlbenchError(f"must have `low` > 0 where all sizes are equally likely (log), got {low:g}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _token(value: Any) -> Any:
    """What an Optuna study can keep of a value."""
    return value if value is None or isinstance(value, bool | int | float | str) else json.dumps(value)


def _listed(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)
