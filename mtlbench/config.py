"""Grid files: read, override, and check against the registry, all problems reported together."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mtlbench.errors import MtlbenchError
from mtlbench.options import Labelled, Problem, expand_choice
from mtlbench.registry import Registry, unknown
from mtlbench.spec import Execution, Recipe

RECIPES = Path(__file__).parent / "recipes"


class GridFile(BaseModel):
    """The keys of a grid file; entries that name plugins are checked against the registry afterwards."""

    model_config = ConfigDict(extra="forbid")

    name: str | None = Field(None, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    dataset: Any
    tasks: list[str] | None = None
    backbone: Any
    method: Any
    balancer: Any = "equal"
    tuning: Any = "full"
    protocol: Any = "joint"
    seed: Any = 0
    baseline: Any = None
    reference: Any = []
    recipe: Any = {}
    exclude: list[dict[str, str]] = []
    plugins: list[str] = []
    execution: Execution = Execution()


@dataclass(frozen=True)
class NamedRecipe:
    """A recipe and how tables call it."""

    recipe: Recipe
    label: str


@dataclass(frozen=True)
class Grid:
    """A checked grid file. Every axis is a list."""

    name: str
    datasets: list[Labelled]
    tasks: tuple[str, ...] | None
    backbones: list[Labelled]
    methods: list[Labelled]
    balancers: list[Labelled]
    tunings: list[Labelled]
    protocols: list[Labelled]
    seeds: list[int]
    baselines: list[Labelled]
    references: list[Labelled]
    recipes: list[NamedRecipe]
    exclude: list[dict[str, str]]
    execution: Execution
    plugins: tuple[str, ...]


AXES = {
    "dataset": "datasets",
    "backbone": "backbones",
    "method": "methods",
    "balancer": "balancers",
    "tuning": "tunings",
    "protocol": "protocols",
    "baseline": "baselines",
    "reference": "references",
}
"""Keys of a grid file that name plugins, and their fields in `Grid`; baseline and reference are methods."""


def load_grid(
    path: str | Path, registry: Registry, *, overrides: Iterable[str] = (), plugins: Iterable[str] = ()
) -> Grid:
    """Read and check a grid file (or a ready grid by its name), with `key=value` overrides.

    Raises:
        MtlbenchError: the file can't be read, or holds mistakes; all of them are listed with their keys.
    """
    file = find_grid(path)
    raw = _read_yaml(file)
    for override in overrides:
        _apply_override(raw, override)
    problems: list[Problem] = []
    try:
        keys = GridFile.model_validate(raw)
    except ValidationError as error:
        raise _report(file, _structure_problems(error, list(GridFile.model_fields))) from error
    for plugin in (*plugins, *keys.plugins):
        registry.add_file(_beside(file, plugin))
    axes = {}
    for key, axis in AXES.items():
        axes[axis], found = _choices(registry, key, getattr(keys, key))
        problems += found
    recipes, found = _recipes(keys.recipe)
    problems += found
    seeds, found = _seeds(keys.seed)
    problems += found
    problems += _unknown_tasks(registry, axes["datasets"], keys.tasks)
    problems += _missing_weights(axes["backbones"])
    problems += _unknown_exclusions(keys.exclude)
    if len(axes["baselines"]) > 1:
        problems.append(Problem("baseline", f"must be one method, got {len(axes['baselines'])}"))
    if problems:
        raise _report(file, problems)
    return Grid(
        name=keys.name or file.stem,
        tasks=tuple(keys.tasks) if keys.tasks else None,
        seeds=seeds,
        recipes=recipes,
        exclude=keys.exclude,
        execution=keys.execution,
        plugins=registry.files,
        **axes,
    )


def find_grid(path: str | Path) -> Path:
    """The file itself, or the ready grid of that name."""
    ready = Path(__file__).parent.parent / "grids"
    packaged = Path(__file__).parent / "grids"
    for candidate in (Path(path), *(folder / f"{path}.yaml" for folder in (packaged, ready))):
        if candidate.is_file():
            return candidate
    names = sorted(file.stem for folder in (packaged, ready) for file in folder.glob("*.yaml"))
    raise MtlbenchError(f"grid file not found: {path} ({unknown('ready grid', str(path), names)})")


def _read_yaml(file: Path) -> dict[str, Any]:
    try:
        raw = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise MtlbenchError(f"{file} is not YAML: {error}") from error
    if not isinstance(raw, dict):
        raise MtlbenchError(f"{file} must hold a mapping of grid keys, got {type(raw).__name__}")
    return raw


def _apply_override(raw: dict[str, Any], override: str) -> None:
    """Set `a.b[1].c=value`; the value is YAML, missing mappings are made."""
    key, equals, text = override.partition("=")
    steps: list[Any] = [
        int(index) if index else name for name, index in re.findall(r"([^.\[\]]+)|\[(\d+)\]", key)
    ]
    if not equals or not steps:
        raise MtlbenchError(f"--set takes key=value, e.g. recipe.iterations=100, got `{override}`")
    target: Any = raw
    for step, following in pairwise(steps):
        if isinstance(target, dict):
            target.setdefault(step, {})
        elif not (isinstance(target, list) and isinstance(step, int) and step < len(target)):
            raise MtlbenchError(f"--set {override}: there is no `{step}` to set anything in")
        if isinstance(target[step], str) and isinstance(following, str):
            target[step] = {"name": target[step]}
        target = target[step]
    try:
        target[steps[-1]] = yaml.safe_load(text)
    except (TypeError, IndexError) as error:
        raise MtlbenchError(f"--set {override}: there is no `{steps[-1]}` to set") from error


def _structure_problems(error: ValidationError, valid: list[str]) -> list[Problem]:
    problems = []
    for detail in error.errors():
        key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in detail["loc"]).lstrip(
            "."
        )
        if detail["type"] == "extra_forbidden" and len(detail["loc"]) == 1:
            message = unknown("key", str(detail["loc"][0]), valid)
        elif detail["type"] == "extra_forbidden":
            message = unknown("key", str(detail["loc"][-1]), list(Execution.model_fields))
        elif detail["type"] == "missing":
            message = "this key is required"
        else:
            message = f"{detail['msg'][0].lower()}{detail['msg'][1:]}, got {detail['input']!r}"
        problems.append(Problem(key, message))
    return problems


def _choices(registry: Registry, key: str, value: Any) -> tuple[list[Labelled], list[Problem]]:
    """A scalar or a list of plugin entries."""
    family = "method" if key in ("baseline", "reference") else key
    entries = value if isinstance(value, list) else [] if value is None else [value]
    choices: list[Labelled] = []
    problems: list[Problem] = []
    for i, entry in enumerate(entries):
        made, found = expand_choice(
            registry, family, entry, f"{key}[{i}]" if isinstance(value, list) else key
        )
        choices += [labelled for labelled in made if labelled not in choices]
        problems += found
    if not entries and key not in ("baseline", "reference"):
        problems.append(Problem(key, f"names no {family}"))
    return choices, problems


def _recipes(value: Any) -> tuple[list[NamedRecipe], list[Problem]]:
    entries = value if isinstance(value, list) else [value]
    recipes: list[NamedRecipe] = []
    problems: list[Problem] = []
    for i, entry in enumerate(entries):
        key = f"recipe[{i}]" if isinstance(value, list) else "recipe"
        try:
            recipes.append(_recipe(entry))
        except ValidationError as error:
            found = _structure_problems(error, list(Recipe.model_fields))
            problems += [
                Problem(f"{key}.{p.key}".rstrip("."), p.message.removeprefix("value error, ")) for p in found
            ]
        except MtlbenchError as error:
            problems.append(Problem(key, str(error)))
    return recipes, problems


def _recipe(entry: Any) -> NamedRecipe:
    """A recipe by name, or its fields, or a name with fields that replace the named recipe's."""
    fields = {"name": entry} if isinstance(entry, str) else entry
    if not isinstance(fields, dict):
        raise MtlbenchError(f"must be the name of a recipe or a mapping of its fields, got {entry!r}")
    fields = dict(fields)
    name = fields.pop("name", None)
    label = fields.pop("label", None)
    named: dict[str, Any] = {}
    if name is not None:
        file = RECIPES / f"{name}.yaml"
        if not file.is_file():
            raise MtlbenchError(unknown("recipe", str(name), recipe_names()))
        named = _read_yaml(file)
    changes = ", ".join(f"{key}={value}" for key, value in fields.items())
    default_label = f"{name or 'custom'} ({changes})" if changes else name or "default"
    return NamedRecipe(Recipe.model_validate(named | fields), label or default_label)


def recipe_names() -> list[str]:
    return sorted(file.stem for file in RECIPES.glob("*.yaml"))


def _seeds(value: Any) -> tuple[list[int], list[Problem]]:
    seeds = value if isinstance(value, list) else [value]
    wrong = [seed for seed in seeds if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0]
    if wrong or not seeds or len(set(seeds)) < len(seeds):
        return [], [Problem("seed", f"must be one or several different whole numbers >= 0, got {value!r}")]
    return seeds, []


def _unknown_tasks(registry: Registry, datasets: list[Labelled], tasks: list[str] | None) -> list[Problem]:
    problems = []
    for labelled in datasets:
        valid = list(registry.load("dataset", labelled.choice.name).tasks)
        for i, task in enumerate(tasks or ()):
            if task not in valid:
                found = unknown(f"task of data set `{labelled.choice.name}`", task, valid)
                problems.append(Problem(f"tasks[{i}]", found))
    if tasks is not None and (not tasks or len(set(tasks)) < len(tasks)):
        problems.append(Problem("tasks", f"must be different tasks, at least one, got {tasks}"))
    return problems


def _missing_weights(backbones: list[Labelled]) -> list[Problem]:
    files = [labelled.choice.options.get("weights", "none") for labelled in backbones]
    return [
        Problem("backbone.weights", f"must be none, pretrained or a file that exists, got {file}")
        for file in files
        if file not in ("none", "pretrained") and not Path(file).is_file()
    ]


def _unknown_exclusions(exclude: list[dict[str, str]]) -> list[Problem]:
    valid = ["dataset", "backbone", "method", "balancer", "tuning", "protocol"]
    return [
        Problem(f"exclude[{i}].{key}", unknown("key", key, valid))
        for i, entry in enumerate(exclude)
        for key in entry
        if key not in valid
    ]


def _beside(file: Path, plugin: str) -> Path:
    """A plugin file is looked for where the grid file is, then in the working directory."""
    beside = file.parent / plugin
    return beside if beside.is_file() else Path(plugin)


def _report(file: Path, problems: list[Problem]) -> MtlbenchError:
    count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
    return MtlbenchError("\n  ".join([f"{file}: {count}", *map(str, problems)]))
