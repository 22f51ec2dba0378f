"""Grid files: read, override, and check against the registry, all problems reported together."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from mtlbench.errors import MtlbenchError
from mtlbench.grid_checks import (
    bad_name,
    missing_weights,
    never_kept,
    rival_baselines,
    unknown_columns,
    unknown_exclusions,
    unknown_tables,
    unknown_tasks,
)
from mtlbench.including import INCLUDE, read_grid, read_mapping
from mtlbench.layouts.settings import ReportSettings, published_names_of
from mtlbench.options import MAX_LABEL, Labelled, Problem, complaint, expand_choice, shown
from mtlbench.overrides import apply_override
from mtlbench.registry import Registry, unknown
from mtlbench.search.checks import space_problems
from mtlbench.search.settings import TuneSettings
from mtlbench.spec import Execution, Recipe
from mtlbench.strict_yaml import shown_text

RECIPES = Path(__file__).parent / "recipes"
MAX_ENTRIES = 1000
"""Of one key."""
MAX_CELLS = 100_000
MAX_SEED = 2**32 - 1
MAX_PROBLEMS = 20
"""So many are shown."""
_BASES = {
    "dataset": "mtlbench.data:Dataset",
    "method": "mtlbench.model:Method",
    "balancer": "mtlbench.balancing:Balancer",
}
"""What plugins are derived from, where plan and checks rely on it."""


class GridFile(BaseModel):
    """The keys of a grid file; entries that name plugins are checked against the registry afterwards."""

    model_config = ConfigDict(extra="forbid")

    name: str | None = None
    dataset: Any
    tasks: list[str] | None = None
    backbone: Any
    method: Any
    balancer: Any = "equal"
    tuning: Any = "full"
    protocol: Any = "joint"
    seed: Any = 0
    baseline: Any = None
    baseline_tuning: Any = None
    reference: Any = []
    recipe: Any = {}
    exclude: list[dict[str, str]] = []
    published: Any = None
    report: ReportSettings = ReportSettings()
    plugins: list[str] = []
    include: Any = None
    tune: TuneSettings | None = None
    execution: Execution = Execution()


@dataclass(frozen=True)
class NamedRecipe:
    """A recipe and how tables call it."""

    recipe: Recipe
    label: str
    backbones: tuple[str, ...] = ()
    """The backbones that it is for, as patterns; none given: all."""
    entry: Mapping[str, Any] = field(default_factory=dict, compare=False)
    """What the grid file says."""


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
    published: tuple[str, ...]
    execution: Execution
    plugins: tuple[str, ...]
    tune: TuneSettings | None = None
    report: ReportSettings = field(default_factory=ReportSettings)
    baseline_tuning: Labelled | None = None
    """Of baselines and references; None: that of the rows that are compared with them."""


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
    raw = read_grid(file)
    for override in overrides:
        apply_override(raw, override)
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
    baseline_tuning, found = _baseline_tuning(registry, keys.baseline_tuning)
    problems += found
    recipes, found = _recipes(keys.recipe)
    problems += found
    seeds, found = _seeds(keys.seed)
    problems += found
    problems += bad_name(keys.name)
    problems += unknown_tasks(registry, axes["datasets"], keys.tasks)
    problems += missing_weights("backbone", axes["backbones"], ("none", "pretrained"))
    problems += missing_weights("method", axes["methods"], ("none",))
    problems += unknown_exclusions(keys.exclude)
    problems += rival_baselines(axes["baselines"], axes["backbones"])
    problems += unknown_tables(keys.published)
    problems += unknown_columns(registry, axes["datasets"], keys.report.columns)
    if not problems and keys.execution.cache_features:
        problems += never_kept(registry, axes["datasets"], {r.recipe.augment for r in recipes})
    if keys.include is not None:
        problems.append(Problem(INCLUDE, "must stand in the grid file: `--set` comes after it"))
    if not problems:
        problems += _too_many(axes, len(recipes), len(seeds))
    if not problems and keys.tune is not None:
        problems += space_problems(registry, keys.tune, recipes, axes, keys.tasks)
    if problems:
        raise _report(file, problems)
    return Grid(
        name=keys.name or file.stem,
        tasks=tuple(keys.tasks) if keys.tasks else None,
        seeds=seeds,
        recipes=recipes,
        exclude=keys.exclude,
        published=published_names_of(keys.published),
        report=keys.report,
        baseline_tuning=baseline_tuning,
        execution=keys.execution,
        plugins=registry.files,
        tune=keys.tune and keys.tune.seeded(seeds),
        **axes,
    )


def find_grid(path: str | Path) -> Path:
    """The file itself, or the ready grid of that name."""
    ready = Path(__file__).parent.parent / "grids"
    packaged = Path(__file__).parent / "grids"
    if _exists(Path(path)):
        return Path(path)
    there = {file.stem: file for folder in (ready, packaged) for file in folder.glob("*.yaml")}
    if str(path) in there:
        return there[str(path)]
    raise MtlbenchError(
        f"grid file not found: {shown_text(str(path))} ({unknown('ready grid', str(path), sorted(there))})"
    )


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # no path could be like that
        return False


def _structure_problems(error: ValidationError, valid: list[str]) -> list[Problem]:
    problems = []
    for detail in error.errors():
        key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in detail["loc"]).lstrip(
            "."
        )
        if detail["type"] == "extra_forbidden" and len(detail["loc"]) == 1:
            message = unknown("key", str(detail["loc"][0]), valid)
        elif detail["type"] == "extra_forbidden":
            models: dict[str, type[BaseModel]] = {"tune": TuneSettings, "report": ReportSettings}
            model = models.get(str(detail["loc"][0]), Execution)
            message = unknown("key", str(detail["loc"][-1]), list(model.model_fields))
        elif detail["type"] == "missing":
            message = "this key is required"
        elif detail["type"] in ("model_type", "dict_type", "model_attributes_type"):
            message = f"must be a mapping of keys to values, got {shown(detail['input'])}"
        else:
            message = complaint(detail)
        problems.append(Problem(key, message))
    return problems


def _choices(registry: Registry, key: str, value: Any) -> tuple[list[Labelled], list[Problem]]:
    """A scalar or a list of plugin entries."""
    family = "method" if key in ("baseline", "reference") else key
    entries = value if isinstance(value, list) else [] if value is None else [value]
    if len(entries) > MAX_ENTRIES:
        return [], [Problem(key, f"must have at most {MAX_ENTRIES} entries, got {len(entries)}")]
    choices: dict[tuple[str, ...], Labelled] = {}
    problems: list[Problem] = []
    for i, entry in enumerate(entries):
        place = f"{key}[{i}]" if isinstance(value, list) else key
        backbones: tuple[str, ...] = ()
        if family == "method":
            entry, backbones, found = _restriction(entry, place)
            problems += found
        made, found = expand_choice(registry, family, entry, place)
        for labelled in made:
            content = (labelled.choice.model_dump_json(), labelled.label, *backbones)
            choices.setdefault(content, replace(labelled, backbones=backbones))
        problems += found or _wrong_kind(registry, family, made, place)
    if not entries and key not in ("baseline", "reference"):
        problems.append(Problem(key, f"names no {family}"))
    return list(choices.values()), problems


def _baseline_tuning(registry: Registry, value: Any) -> tuple[Labelled | None, list[Problem]]:
    """One tuning, or none."""
    if value is None:
        return None, []
    made, problems = expand_choice(registry, "tuning", value, "baseline_tuning")
    if not problems and len(made) > 1:
        problems = [Problem("baseline_tuning", f"must be one tuning, got {len(made)}")]
    return (made[0] if made else None), problems


def _wrong_kind(registry: Registry, family: str, made: list[Labelled], key: str) -> list[Problem]:
    """A plugin of a third party that is not what its family promises."""
    if family not in _BASES:
        return []
    module, _, base = _BASES[family].partition(":")
    plugin = registry.load(family, made[0].choice.name)
    if isinstance(plugin, type) and issubclass(plugin, getattr(import_module(module), base)):
        return []
    message = f"`{made[0].choice.name}` must be a class derived from {module}.{base}, it is {shown(plugin)}"
    return [Problem(key, message)]


def _restriction(entry: Any, key: str) -> tuple[Any, tuple[str, ...], list[Problem]]:
    """An entry without its `backbones`, and the patterns that stood there."""
    if not isinstance(entry, dict) or "backbones" not in entry:
        return entry, (), []
    rest = {name: value for name, value in entry.items() if name != "backbones"}
    given = entry["backbones"]
    patterns = [given] if isinstance(given, str) else given
    if isinstance(patterns, list) and patterns and all(isinstance(p, str) for p in patterns):
        return rest, tuple(patterns), []
    message = f"must be one or several patterns of backbones, got {shown(given)}"
    return rest, (), [Problem(f"{key}.backbones", message)]


def _recipes(value: Any) -> tuple[list[NamedRecipe], list[Problem]]:
    entries = value if isinstance(value, list) else [value]
    if not 0 < len(entries) <= MAX_ENTRIES:
        return [], [Problem("recipe", f"must have 1 to {MAX_ENTRIES} entries, got {len(entries)}")]
    recipes: list[NamedRecipe] = []
    problems: list[Problem] = []
    for i, entry in enumerate(entries):
        key = f"recipe[{i}]" if isinstance(value, list) else "recipe"
        entry, backbones, found = _restriction(entry, key)
        problems += found
        try:
            recipes.append(replace(_recipe(entry), backbones=backbones))
        except ValidationError as error:
            found = _structure_problems(error, list(Recipe.model_fields))
            problems += [Problem(f"{key}.{p.key}".rstrip("."), p.message) for p in found]
        except MtlbenchError as error:
            problems.append(Problem(key, str(error)))
    return recipes, problems


def _recipe(entry: Any) -> NamedRecipe:
    """A recipe by name, or its fields, or a name with fields that replace the named recipe's."""
    fields = {"name": entry} if isinstance(entry, str) else entry
    if not isinstance(fields, dict):
        raise MtlbenchError(f"must be the name of a recipe or a mapping of its fields, got {shown(entry)}")
    fields = dict(fields)
    name = fields.pop("name", None)
    label = fields.pop("label", None)
    named: dict[str, Any] = {}
    if name is not None:
        if name not in recipe_names():
            raise MtlbenchError(
                unknown("recipe", name if isinstance(name, str) else shown(name), recipe_names())
            )
        named = read_mapping(RECIPES / f"{name}.yaml")
    if label is not None and (not isinstance(label, str) or not 0 < len(label) <= MAX_LABEL):
        raise MtlbenchError(f"`label` must be text of 1 to {MAX_LABEL} characters, got {shown(label)}")
    recipe = Recipe.model_validate(named | fields)
    changes = ", ".join(f"{key}={value}" for key, value in fields.items())
    default_label = f"{name or 'custom'} ({changes})" if changes else name or "default"
    return NamedRecipe(
        recipe, label or default_label, entry=fields | ({} if name is None else {"name": name})
    )


def recipe_names() -> list[str]:
    return sorted(file.stem for file in RECIPES.glob("*.yaml"))


def _seeds(value: Any) -> tuple[list[int], list[Problem]]:
    seeds = value if isinstance(value, list) else [value]
    right = [s for s in seeds if isinstance(s, int) and not isinstance(s, bool) and 0 <= s <= MAX_SEED]
    if len(right) < len(seeds) or not seeds or len(set(seeds)) < len(seeds):
        found = f"must be one or several different whole numbers from 0 to {MAX_SEED}, got {shown(value)}"
        return [], [Problem("seed", found)]
    return seeds, []


def _too_many(axes: dict[str, list[Labelled]], recipes: int, seeds: int) -> list[Problem]:
    """Found before the cells are made."""
    sizes = {key: len(axes[axis]) for key, axis in AXES.items() if key not in ("baseline", "reference")}
    sizes |= {"recipe": recipes, "seed": seeds}
    count = math.prod(sizes.values())
    if count <= MAX_CELLS:
        return []
    factors = " x ".join(f"{size} of {key}" for key, size in sizes.items() if size > 1)
    return [Problem("", f"the grid must stand for at most {MAX_CELLS} trainings, got {count} ({factors})")]


def _beside(file: Path, plugin: str) -> Path:
    """A plugin file is looked for where the grid file is, then in the working directory."""
    beside = file.parent / plugin
    return beside if beside.is_file() else Path(plugin)


def _report(file: Path, problems: list[Problem]) -> MtlbenchError:
    count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
    lines = [str(problem) for problem in problems[:MAX_PROBLEMS]]
    if len(problems) > MAX_PROBLEMS:
        lines.append(f"... and {len(problems) - MAX_PROBLEMS} more")
    return MtlbenchError("\n  ".join([f"{file}: {count}", *lines]))
