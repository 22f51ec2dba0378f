"""Options of plugins: checked against the constructor's signature before anything runs."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from itertools import product
from typing import Any

from pydantic import TypeAdapter, ValidationError

from mtlbench.errors import MtlbenchError
from mtlbench.registry import Option, Registry, unknown
from mtlbench.spec import Choice


@dataclass(frozen=True)
class Problem:
    """One mistake in a file: where (a key path such as `method[1].depth`), and what."""

    key: str
    message: str

    def __str__(self) -> str:
        return f"{self.key}: {self.message}" if self.key else self.message


@dataclass(frozen=True)
class Labelled:
    """A choice and how tables call it."""

    choice: Choice
    label: str


def expand_choice(
    registry: Registry, family: str, value: Any, key: str
) -> tuple[list[Labelled], list[Problem]]:
    """One entry of a grid file (a name, or a mapping with `name`, options and `label`) -> its choices.

    An option that is given a list stands for one choice per element, unless the option itself takes a list.
    """
    entry = {"name": value} if isinstance(value, str) else value
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        return [], [Problem(key, f"must be the name of a {family} or a mapping with `name`, got {value!r}")]
    name, label = entry["name"], entry.get("label")
    try:
        options = registry.get(family, name).options()
    except MtlbenchError as error:
        return [], [Problem(key, str(error))]
    given = {option: v for option, v in entry.items() if option not in ("name", "label")}
    problems = [Problem(f"{key}.{o}", unknown("option", o, list(options))) for o in given if o not in options]
    missing = [name for name, option in options.items() if option.required and name not in given]
    problems += [Problem(f"{key}.{o}", f"{family} `{name}` needs this option") for o in missing]
    axes: dict[str, list[Any]] = {}
    for option, v in given.items():
        if option in options:
            axes[option], found = _values(options[option], v, f"{key}.{option}")
            problems += found
    if problems:
        return [], problems
    return [
        _labelled(name, dict(zip(axes, c, strict=True)), options, label) for c in product(*axes.values())
    ], []


def build_options(registry: Registry, family: str, choice: Choice) -> dict[str, Any]:
    """The options of a choice in the types that the constructor's annotations name."""
    options = registry.get(family, choice.name).options()
    return {name: _adapter(options[name].annotation).validate_python(v) for name, v in choice.options.items()}


def _labelled(name: str, values: dict[str, Any], options: dict[str, Option], label: str | None) -> Labelled:
    defaults = {option: _plain(o.annotation, o.default) for option, o in options.items() if not o.required}
    choice = Choice(
        name=name, options={k: v for k, v in values.items() if k not in defaults or v != defaults[k]}
    )
    return Labelled(choice, label.format_map({"name": name} | defaults | values) if label else str(choice))


def _values(option: Option, value: Any, key: str) -> tuple[list[Any], list[Problem]]:
    """The legal values that `value` stands for: itself, or the elements of a list."""
    first = _check(option, value, key)
    if isinstance(first, Problem) and isinstance(value, list):
        checked = [_check(option, v, f"{key}[{i}]") for i, v in enumerate(value)]
        return [v for v in checked if not isinstance(v, Problem)], [
            p for p in checked if isinstance(p, Problem)
        ]
    return ([], [first]) if isinstance(first, Problem) else ([first], [])


def _check(option: Option, value: Any, key: str) -> Any:
    """The value in the option's type, in a form that JSON can hold, or the problem with it."""
    try:
        return _plain(option.annotation, _adapter(option.annotation).validate_python(value))
    except ValidationError as error:
        details = error.errors()[0]
        return Problem(key, f"{details['msg'][0].lower()}{details['msg'][1:]}, got {value!r}")


def _plain(annotation: Any, value: Any) -> Any:
    """The value as JSON would hold it (a tuple as a list, say)."""
    return _adapter(annotation).dump_python(value, mode="json")


def _adapter(annotation: Any) -> TypeAdapter[Any]:
    return TypeAdapter(Any if annotation is inspect.Parameter.empty else annotation)
