"""Mistakes in one value, one key or one name of a grid that is right otherwise; wrong by construction.

All are drawn with a generator of their own, so that another seed gives other mistakes.
"""

from __future__ import annotations

import copy
import inspect
import random
import types
from collections.abc import Callable, Iterator
from typing import Any, Literal, Union, get_args, get_origin

import yaml
from malformed_case import Case, cases_of

from mtlbench.config import GridFile
from mtlbench.registry import Option, registry
from mtlbench.spec import Execution, Recipe

SMALL: dict[str, Any] = {
    "name": "small",
    "dataset": {"name": "rooms", "root": "rooms", "train": 4, "val": 2, "size": "32x32"},
    "tasks": ["semseg", "depth"],
    "backbone": "resnet18",
    "method": [
        "multi_task",
        {"name": "degmix", "depth": [1, 2], "dim": 16, "label": "DeGMix ({depth})"},
        {"name": "atrc", "backbones": "resnet18"},
    ],
    "balancer": ["uncertainty", {"name": "cagrad", "c": 0.4}],
    "baseline": "single_task",
    "reference": ["constant"],
    "recipe": {"iterations": 4, "batch_size": 2, "lr": 0.01},
    "execution": {"workers": 0, "gallery": 0},
    "exclude": [{"method": "DeGMix*", "balancer": "cagrad*"}],
    "seed": [0, 1],
}
"""Right; a case changes one thing."""

HUGE = 10**400
LONG = "x" * 2**19
NO_NUMBER = ("ten", True, {"a": 1}, float("nan"), float("inf"), HUGE, "2024-01-01", "1 000", LONG)
NO_WHOLE = (*NO_NUMBER, 1.5)
NO_TEXT = (3, 1.5, True, {"a": 1})


def with_value(path: tuple[str | int, ...], value: Any) -> bytes:
    """The small grid with another value at one place."""
    grid = copy.deepcopy(SMALL)
    place: Any = grid
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return yaml.safe_dump(grid, sort_keys=False).encode()


def without_key(path: tuple[str | int, ...]) -> bytes:
    grid = copy.deepcopy(SMALL)
    place: Any = grid
    for step in path[:-1]:
        place = place[step]
    del place[path[-1]]
    return yaml.safe_dump(grid, sort_keys=False).encode()


def dotted(path: tuple[str | int, ...]) -> str:
    """`method[1].depth`."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).lstrip(".")


@cases_of("wrong type")
def wrong_types(draw: random.Random) -> Iterator[Case]:
    """Another type than the key takes, at any key of the file."""
    places: list[tuple[tuple[str | int, ...], tuple[Any, ...]]] = [
        *((("recipe", key), _wrong_for(field.annotation)) for key, field in Recipe.model_fields.items()),
        *(
            (("execution", key), _wrong_for(field.annotation))
            for key, field in Execution.model_fields.items()
        ),
        (("name",), (*NO_TEXT, ["a"])),
        (("tasks",), (3, "semseg", {"semseg": 1}, [[1]], [None], list(range(40_000)))),
        (("dataset",), (3, None, [3], {"root": "x"}, True, [["rooms"]])),
        (("backbone",), (3, None, [3], {"weights": "none"}, True, {"name": 3})),
        (("method",), (3, None, [None], {"depth": 3}, True, {"name": ["degmix"]})),
        (("balancer",), (3, None, [0.5], {"c": 3}, True)),
        (("tuning",), (3, None, [{}], True)),
        (("protocol",), (3, None, [{}], True)),
        (("baseline",), (3, {"depth": 1}, True)),
        (("reference",), (3, {"depth": 1}, True)),
        (("seed",), ("zero", 1.5, -1, True, None, {"a": 1}, [0, -3], HUGE, 2**32, float("nan"))),
        (("recipe",), (3, None, ["a", 3], True, 1.5)),
        (("execution",), (3, None, "fast", [1], True)),
        (("exclude",), (3, None, {"method": "x"}, ["atrc"], [{"method": 3}], [{"method": ["a"]}])),
        (("published",), (3, ["a"], True)),
        (("plugins",), (3, None, "mine.py", [3], {"a": "b"})),
        (("method", 1, "label"), (3, True, {"a": 1}, "", "{depht}", "{0}", "{", "{depth:>999999999}", LONG)),
        (("method", 2, "backbones"), (3, None, [], [3], {"a": 1})),
    ]
    while True:
        path, values = draw.choice(places)
        value = draw.choice(values)
        says = "the number is too large" if value == HUGE else dotted(path[:2])
        yield Case(f"{dotted(path)}: {_brief(value)}", with_value(path, value), says=(says,))


@cases_of("option of the wrong type")
def wrong_options(draw: random.Random) -> Iterator[Case]:
    """Options of all plugins that there are, with values that their annotations don't allow."""
    known = list(_options())
    while True:
        family, name, option = draw.choice(known)
        values = _wrong_for(option.annotation)
        if not values:
            continue
        value = draw.choice(values)
        entry = {"name": name, option.name: value}
        says = "the number is too large" if value == HUGE else f"{family}.{option.name}"
        about = f"{family} {name}, {option.name}: {_brief(value)}"
        yield Case(about, with_value((family,), entry), says=(says,))


def _options() -> Iterator[tuple[str, str, Option]]:
    for family in ("dataset", "backbone", "method", "balancer", "tuning", "protocol"):
        for name in registry.names(family):
            if ":" not in name:
                yield from (
                    (family, name, option) for option in registry.get(family, name).options().values()
                )


def _wrong_for(annotation: Any) -> tuple[Any, ...]:
    """Values that a type can't have; a list stands for one choice per element, all of them wrong."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if annotation is int or (origin is Literal and all(isinstance(part, int) for part in parts)):
        return (*NO_WHOLE, [], ["ten"])
    if annotation is float:
        return (*NO_NUMBER, [], ["hot"])
    if annotation is bool:
        return ("perhaps", 2, {"a": 1}, 0.5, [])
    if annotation is str:
        return (*NO_TEXT, [], [3])
    if origin is Literal:
        return ("nowhere", 3, True, {"a": 1}, [], ["nowhere"])
    if origin in (Union, types.UnionType):
        kinds = [_wrong_for(part) for part in parts if part is not type(None)]
        return tuple(v for v in kinds[0] if all(any(v is w for w in kind) for kind in kinds[1:]))
    if origin is tuple:
        return ({"a": 1}, True, 2024, [[{"b": 1}]])
    if origin is dict:
        return (*(value for value in NO_NUMBER if not isinstance(value, dict)), {"a": "b"}, [])
    if hasattr(annotation, "__metadata__"):
        return _wrong_for(annotation.__origin__)
    assert annotation is inspect.Parameter.empty or annotation is Any, annotation
    return ()


@cases_of("mistyped key")
def mistyped_keys(draw: random.Random) -> Iterator[Case]:
    """A key with a letter too many, too few or two swapped, at the top or further down."""
    places: list[tuple[tuple[str | int, ...], list[str], Any]] = [
        ((), list(GridFile.model_fields), "x"),
        (("recipe",), list(Recipe.model_fields), 1),
        (("execution",), list(Execution.model_fields), 1),
        (("method", 1), ["variant", "depth", "modules", "label"], 1),
        (("dataset",), ["root", "train", "style"], 1),
        (("balancer", 1), ["rescale", "every"], 1),
        (("exclude", 0), ["backbone", "dataset", "tuning"], "x"),
    ]
    while True:
        path, keys, value = draw.choice(places)
        wrong = _mistype(draw, draw.choice(keys))
        if wrong not in keys and wrong not in ("name", "label", "backbones", "heads", "head"):
            full = (*path, wrong)
            yield Case(dotted(full), with_value(full, value), says=(dotted(full), "unknown", wrong))


@cases_of("mistyped name")
def mistyped_names(draw: random.Random) -> Iterator[Case]:
    """Names of plugins, tasks, recipes and published tables that don't exist."""
    places: list[tuple[tuple[str | int, ...], Callable[[], list[str]]]] = [
        *(
            ((family,), lambda family=family: [n for n in registry.names(family) if ":" not in n])
            for family in ("dataset", "method", "balancer", "tuning", "protocol", "backbone")
        ),
        (("baseline",), lambda: registry.names("method")),
        (("reference", 0), lambda: registry.names("method")),
        (("tasks", 1), lambda: ["semseg", "depth", "normals", "human_parts"]),
        (("recipe",), lambda: ["quickstart", "atrc-nyud", "mtan-cityscapes"]),
        (("published",), lambda: ["degmix_table1_nyud"]),
    ]
    while True:
        path, names = draw.choice(places)
        wrong = draw.choice(
            (_mistype(draw, draw.choice(names())), "", "no such name", "../quickstart", "a/b")
        )
        if wrong not in names():
            yield Case(f"{dotted(path)}: {wrong!r}", with_value(path, wrong), says=(dotted(path), "unknown"))


def _mistype(draw: random.Random, word: str) -> str:
    at = draw.randrange(len(word) - 1)
    swapped = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    choices = (
        word[:at] + word[at + 1 :],
        word[:at] + word[at] + word[at:],
        swapped,
        word.upper(),
        f"{word} ",
    )
    return draw.choice([choice for choice in choices if choice != word])


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 40 else f"{text[:20]}... ({len(text)} characters)"
