"""Entries of a grid file that are for some backbones only."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from mtlbench.config import load_grid
from mtlbench.errors import MtlbenchError
from mtlbench.plan import Row, expand
from mtlbench.registry import Registry

GRID: dict[str, Any] = {
    "dataset": "tiny",
    "tasks": ["semseg"],
    "backbone": [{"name": "tiny", "label": "first"}, {"name": "resnet18", "label": "second"}],
    "method": "multi_task",
    "recipe": {"iterations": 4},
}


def rows(folder: Path, registry: Registry, **changes: Any) -> list[Row]:
    file = folder / "grid.yaml"
    file.write_text(yaml.safe_dump({**GRID, **changes}))
    return expand(load_grid(file, registry), registry).rows


def labels(found: list[Row], *axes: str) -> list[tuple[str, ...]]:
    return [tuple(row.labels[axis] for axis in axes) for row in found]


def test_methods_and_baselines(tmp_path: Path, tiny_registry: Registry) -> None:
    found = rows(
        tmp_path,
        tiny_registry,
        method=[
            {"name": "multi_task", "label": "A"},
            {"name": "multi_task", "head_channels": 4, "label": "B", "backbones": "sec*"},
        ],
        baseline=[
            {"name": "single_task", "label": "S", "backbones": ["tiny"]},
            {"name": "single_task", "head_channels": 4, "label": "S", "backbones": ["resnet*", "none"]},
        ],
    )
    assert labels(found, "backbone", "method") == [
        ("first", "S"),
        ("first", "A"),
        ("second", "S"),
        ("second", "A"),
        ("second", "B"),
    ]
    options = [row.cells[0][0].method.options for row in found if row.role == "baseline"]
    assert options == [{}, {"head_channels": 4}]


def test_recipes(tmp_path: Path, tiny_registry: Registry) -> None:
    recipes = [
        {"iterations": 4, "label": "short", "backbones": "first"},
        {"iterations": 8, "label": "long"},
    ]
    found = rows(tmp_path, tiny_registry, recipe=recipes)
    assert labels(found, "backbone", "recipe") == [("first", "short"), ("first", "long"), ("second", "long")]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"method": {"name": "multi_task", "backbones": 3}},
            "method.backbones: must be one or several patterns of backbones, got 3",
        ),
        (
            {"recipe": [{"iterations": 3, "backbones": []}]},
            "recipe[0].backbones: must be one or several patterns of backbones, got []",
        ),
        (
            {"balancer": {"name": "equal", "backbones": "tiny"}},
            "balancer.backbones: unknown option `backbones`",
        ),
        (
            {"baseline": ["single_task", {"name": "multi_task", "backbones": "sec*"}]},
            "baseline: must be one method for second, got 2",
        ),
    ],
)
def test_mistakes(changes: dict[str, Any], message: str, tmp_path: Path, tiny_registry: Registry) -> None:
    with pytest.raises(MtlbenchError) as caught:
        rows(tmp_path, tiny_registry, **changes)
    assert message in str(caught.value)
