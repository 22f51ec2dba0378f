"""Mistakes under the grid key `tune`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from tuned_grid import load

from mtlbench.config import load_grid
from mtlbench.errors import MtlbenchError
from mtlbench.registry import Registry
from mtlbench.search.settings import TuneSettings

RANGE = {"low": 0.1, "high": 0.9}


def complaint(folder: Path, registry: Registry, **changes: Any) -> str:
    with pytest.raises(MtlbenchError) as caught:
        load(folder, registry, **changes)
    return str(caught.value)


@pytest.mark.parametrize(
    ("tune", "message"),
    [
        ({"trails": 3}, "tune.trails: unknown key `trails`: did you mean `trials`?"),
        ({"trials": 0}, "tune.trials: must be greater than 0, got 0"),
        ({"holdout": 1}, "tune.holdout: must be less than 1, got 1"),
        ({"holdout": True}, "tune.holdout: must be a number, got True"),
        ({"sampler": "gird"}, "tune.sampler: must be 'auto', 'tpe'"),
        ({"seed": [1, 1]}, "tune.seed: must be one or several different whole numbers, got [1, 1]"),
        ({"seed": -1}, "tune.seed[0]: must be greater than or equal to 0, got -1"),
        ({"seed": [[1]]}, "tune.seed[0]: must be a whole number, got [1]"),
        ({"objective": "tasks", "pruner": "median"}, "tune: `pruner` must be none for `objective: tasks`"),
        ({"pruner": "wilcoxon"}, "`pruner: wilcoxon` compares seeds: `seed` must name several"),
        ("all", "tune: must be a mapping of keys to values, got 'all'"),
        ({"space": []}, "tune.space: must be a mapping"),
        ({"space": {}}, "tune.space: must name at least one key, such as balancer or recipe.lr"),
    ],
)
def test_settings(tmp_path: Path, tiny_registry: Registry, tune: Any, message: str) -> None:
    assert message in complaint(tmp_path, tiny_registry, tune=tune)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (
            {"balancr.c": RANGE},
            "tune.space.balancr.c: unknown key of a space `balancr.c`: did you mean `balancer.c` or",
        ),
        ({"balancer.d": RANGE}, "unknown option of the grid's entries of `balancer` `d`: valid:"),
        ({"balancer": RANGE}, "tune.space.balancer: must be `declared` (all that plugins declare)"),
        (
            {"balancer.c": {"low": -1, "high": "x"}},
            "tune.space.balancer.c: must have a finite number as `high`",
        ),
        ({"balancer.c": ["x", "y"]}, "tune.space.balancer.c: must be a number, got 'x'"),
        ({"balancer.c": {"low": 0.5, "high": 1}}, "must contain the value that balancer `cagrad` has"),
        ({"balancer.rescale": "declared"}, "balancer `cagrad` declares no space for this option"),
        ({"balancer.weights": {"low": 2, "high": 1}}, "must have `low` < `high`, got 2 and 1"),
        ({"method.when": {"low": 0.5, "high": 3}}, "tune.space.method.when: must be a whole number, got 0.5"),
        ({"recipe": "declared"}, "recipes declare no space: name fields such as `recipe.lr`"),
        ({"recipe.lrr": RANGE}, "unknown option of the grid's entries of `recipe` `lrr`: did you mean `lr`?"),
        ({"recipe.lr": {"low": 0, "high": 1}}, "tune.space.recipe.lr: must be greater than 0, got 0"),
        (
            {"recipe.lr": {"low": 0.1, "high": 1}},
            "must contain the value that recipe `custom (batch_size=4, iterat",
        ),
        (
            {"recipe.iterations": [4, 8]},
            "tune.space.recipe.iterations: can't be tuned: a longer training costs",
        ),
        (
            {"recipe.optimizer": ["sgd", "lion"]},
            "tune.space.recipe.optimizer: must be 'sgd', 'adam' or 'adamw', got 'lion'",
        ),
        ({"recipe.batch_size": [4, 6]}, "`batch_size` must be a multiple of `accumulate`"),
        ({"dataset.images": [8, 16]}, "can't be tuned: rows are compared on the same dataset"),
        (
            {"backbone.weights": ["none", "pretrained"]},
            "rows are compared on the same backbone: list several",
        ),
        ({"seed": [0, 1]}, "tune.space.seed: can't be tuned: that would be to pick the luckiest run"),
    ],
)
def test_spaces(tmp_path: Path, tiny_registry: Registry, space: Any, message: str) -> None:
    changes = {"balancer": ["equal", "cagrad"], "method": ["multi_task", "troubled"]}
    recipe = {"iterations": 4, "batch_size": 4, "accumulate": 4 if "recipe.batch_size" in space else 1}
    if recipe["accumulate"] == 1:
        del recipe["accumulate"]
    found = complaint(tmp_path, tiny_registry, **changes, recipe=recipe, tune={"space": space})
    assert message in found
    assert "1 problem\n" in found


def test_a_key_may_be_nested_as_overrides_make_it(tmp_path: Path, tiny_registry: Registry) -> None:
    tune = {"space": {"recipe.lr": {"low": 0.001, "high": 0.1, "log": True}}}
    load(tmp_path, tiny_registry, tune=tune)
    overrides = ["tune.space.recipe.lr.high=0.5", "tune.space.balancer.weights=declared"]
    grid = load_grid(tmp_path / "grid.yaml", tiny_registry, overrides=overrides)
    assert grid.tune is not None
    lr = {"low": 0.001, "high": 0.5, "log": True}
    assert grid.tune.space == {"recipe.lr": lr, "balancer.weights": "declared"}

    load(tmp_path, tiny_registry, tune={"space": {"balancer": "declared"}})
    overrides = ["tune.space.balancer.weights={low: 0.5, high: 2}"]
    grid = load_grid(tmp_path / "grid.yaml", tiny_registry, overrides=overrides)
    assert grid.tune is not None
    assert grid.tune.space == {"balancer": "declared", "balancer.weights": {"low": 0.5, "high": 2}}


def test_published_weights_must_be_within_the_space(tmp_path: Path, tiny_registry: Registry) -> None:
    space = {"balancer.weights": {"low": 0.5, "high": 2}}
    found = complaint(
        tmp_path, tiny_registry, balancer="fixed", tasks=["semseg", "normals"], tune={"space": space}
    )
    assert "balancer `fixed` has without tuning, since trial 0 has it" in found
    assert "{'normals': 10.0, 'semseg': 1.0}" in found


def test_all_of_a_file_together(tmp_path: Path, tiny_registry: Registry) -> None:
    space = {"method": "declared", "recipe.lrr": RANGE, "recipe.epochs": [1, 2], "balancer.weights": 3}
    found = complaint(tmp_path, tiny_registry, baseline=None, tune={"space": space})
    assert "4 problems" in found
    assert "tune.objective: `delta_m` compares with a baseline: name a `baseline`" in found


def test_a_baseline_for_other_backbones_is_none(tmp_path: Path, tiny_registry: Registry) -> None:
    from mtlbench.search.plans import studies_of

    grid = load(tmp_path, tiny_registry, baseline={"name": "single_task", "backbones": "other-*"})
    with pytest.raises(MtlbenchError, match="grid g has no baseline for tiny: name one for it"):
        studies_of(grid, tiny_registry)


def test_settings_are_documented() -> None:
    page = Path(__file__).parent.parent.parent / "docs" / "grids.md"
    rows = dict(re.findall(r"^\| `tune\.(\w+)` \| `?(.*?)`? \|", page.read_text(), flags=re.MULTILINE))
    fields = TuneSettings.model_fields
    assert list(rows) == list(fields)
    told = {name: yaml.safe_load(rows[name]) for name in fields if name not in ("seed", "evaluate_every")}
    assert told == {name: fields[name].default for name in told}
