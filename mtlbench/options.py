"""Options of plugins: checked against the constructor's signature before anything runs."""

from __future__ import annotations

import inspect
import math
import re
import reprlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from itertools import product
from typing import Any, get_args

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError
from pydantic_core import ErrorDetails

from mtlbench.errors import MtlbenchError
from mtlbench.registry import Option, Registry, unknown
from mtlbench.spec import Choice
from mtlbench.strict_yaml import parse_yaml, shown_text

MAX_CHOICES = 10_000
"""What one entry of a grid file may stand for."""
MAX_LABEL = 200
_WIDE_FIELD = re.compile(r":[^}]*[0-9]{3}")
_WANTED = {
    "int_": "a whole number",
    "float_": "a number",
    "bool_": "true or false",
    "string_type": "text",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a mapping",
}
"""How kinds of pydantic's errors begin, and what messages say in its place."""
_SHOWN = reprlib.Repr()
_SHOWN.maxstring = _SHOWN.maxother = 80


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
    backbones: tuple[str, ...] = ()
    """Of a method: the backbones that it is for, as patterns of names or labels; none given: all."""
    given: tuple[str, ...] = field(default=(), compare=False)
    """The options that the entry names, also those that it gives their defaults."""


def shown(value: Any) -> str:
    """A value as messages name it, shortened."""
    return _SHOWN.repr(value)


def complaint(error: ErrorDetails) -> str:
    """What pydantic says of a value, with the value."""
    kind, message = error["type"], error["msg"].removeprefix("Value error, ")
    wanted = next((wanted for start, wanted in _WANTED.items() if kind.startswith(start)), None)
    message = f"must be {wanted}" if wanted else message.replace("Input should be", "must be")
    return f"{message[0].lower()}{message[1:]}, got {shown(error['input'])}"


def matches(labelled: Labelled, pattern: str) -> bool:
    return fnmatch(labelled.label, pattern) or fnmatch(labelled.choice.name, pattern)


def is_for(patterns: tuple[str, ...], backbone: Labelled) -> bool:
    """Whether a method or recipe that names these backbones is for this one; naming none, it is for all."""
    return not patterns or any(matches(backbone, pattern) for pattern in patterns)


def expand_choice(
    registry: Registry, family: str, value: Any, key: str
) -> tuple[list[Labelled], list[Problem]]:
    """One entry of a grid file (a name, or a mapping with `name`, options and `label`) -> its choices.

    An option that is given a list stands for one choice per element, unless the option itself takes a list.
    """
    entry = {"name": value} if isinstance(value, str) else value
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        return [], [
            Problem(key, f"must be the name of a {family} or a mapping with `name`, got {shown(value)}")
        ]
    name, label = entry["name"], entry.get("label")
    try:
        options = registry.get(family, name).options()
        defaults = {o: _plain(x.annotation, x.default) for o, x in options.items() if not x.required}
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
    count = math.prod(map(len, axes.values()))
    if count > MAX_CHOICES:
        problems.append(Problem(key, f"must stand for at most {MAX_CHOICES} choices, got {count}"))
    if problems:
        return [], problems
    combinations = [dict(zip(axes, values, strict=True)) for values in product(*axes.values())]
    try:
        return [_labelled(name, values, defaults, label) for values in combinations], []
    except (AttributeError, KeyError, IndexError, TypeError, ValueError):
        fields = ", ".join(f"{{{field}}}" for field in ("name", *options))
        limit = f"must be text of 1 to {MAX_LABEL} characters"
        message = f"{limit} in which {fields} may stand for values, got {shown(label)}"
        return [], [Problem(f"{key}.label", message)]


def fill_label(label: Any, values: dict[str, Any]) -> str:
    """A label with the values of its `{fields}`.

    Raises:
        AttributeError, KeyError, IndexError, TypeError, ValueError: it is no text, or has other fields.
    """
    if not isinstance(label, str) or not 0 < len(label) <= MAX_LABEL or _WIDE_FIELD.search(label):
        raise ValueError
    return label.format_map(values)


def parse_assignment(text: str) -> tuple[str, Any]:
    """Key and value of "key=value" on a command line, the value in YAML.

    Raises:
        MtlbenchError: it is not of that form.
    """
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise MtlbenchError(f"options must be KEY=VALUE, got {shown_text(text)}")
    return key, parse_yaml(value, shown_text(text))


def one_choice(registry: Registry, family: str, name: str, options: Mapping[str, Any]) -> Choice:
    """A plugin with options from a command line.

    Raises:
        MtlbenchError: unknown name, unknown or wrong options; all of them together.
    """
    choices, problems = expand_choice(registry, family, {"name": name, **options}, name)
    if len(choices) > 1:
        problems = [Problem(name, f"options must be single values, got {dict(options)}")]
    if problems:
        raise MtlbenchError("\n".join(map(str, problems)))
    return choices[0].choice


def build_options(registry: Registry, family: str, choice: Choice) -> dict[str, Any]:
    """The options of a choice in the types that the constructor's annotations name."""
    options = registry.get(family, choice.name).options()
    return {name: _adapter(options[name].annotation).validate_python(v) for name, v in choice.options.items()}


def _labelled(name: str, values: dict[str, Any], defaults: dict[str, Any], label: str | None) -> Labelled:
    choice = Choice(
        name=name, options={k: v for k, v in values.items() if k not in defaults or v != defaults[k]}
    )
    shown_as = str(choice) if label is None else fill_label(label, {"name": name} | defaults | values)
    return Labelled(choice, shown_as, given=tuple(values))


def _values(option: Option, value: Any, key: str) -> tuple[list[Any], list[Problem]]:
    """The legal values that `value` stands for: itself, or the elements of a list."""
    first = _check(option, value, key)
    if isinstance(first, Problem) and isinstance(value, list) and value:
        checked = [_check(option, v, f"{key}[{i}]") for i, v in enumerate(value)]
        return [v for v in checked if not isinstance(v, Problem)], [
            p for p in checked if isinstance(p, Problem)
        ]
    return ([], [first]) if isinstance(first, Problem) else ([first], [])


def _check(option: Option, value: Any, key: str) -> Any:
    """The value in the option's type, in a form that JSON can hold, or the problem with it."""
    for leaf in _leaves(value):
        if isinstance(leaf, bool) and not _takes_booleans(option.annotation):
            return Problem(key, f"must not be true or false, got {shown(value)}")
        if isinstance(leaf, float) and not math.isfinite(leaf):
            return Problem(key, f"must be finite, got {shown(value)}")
    try:
        return _plain(option.annotation, _adapter(option.annotation).validate_python(value))
    except ValidationError as error:
        return Problem(key, complaint(error.errors()[0]))


def _leaves(value: Any) -> Iterator[Any]:
    """All that lists and mappings hold, at any depth."""
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _leaves(part)
    else:
        yield value


def _takes_booleans(annotation: Any) -> bool:
    """Whether true and false are among the values of a type; else pydantic takes them for 1 and 0."""
    if annotation in (bool, Any, inspect.Parameter.empty) or isinstance(annotation, bool):
        return True
    return any(_takes_booleans(part) for part in get_args(annotation))


def _plain(annotation: Any, value: Any) -> Any:
    """The value as JSON would hold it (a tuple as a list, say)."""
    return _adapter(annotation).dump_python(value, mode="json")


def _adapter(annotation: Any) -> TypeAdapter[Any]:
    """Checks values of a type.

    Raises:
        MtlbenchError: it is a type that no value of a grid file can have.
    """
    try:
        return TypeAdapter(Any if annotation is inspect.Parameter.empty else annotation)
    except PydanticUserError as error:
        raise MtlbenchError(f"has an option of the type {annotation}, which can't be checked") from error
