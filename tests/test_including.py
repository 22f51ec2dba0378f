"""Grid files that include others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from mtlbench.config import load_grid
from mtlbench.errors import MtlbenchError
from mtlbench.including import merge, read_grid
from mtlbench.registry import Registry


def write(file: Path, **content: Any) -> Path:
    file.parent.mkdir(exist_ok=True, parents=True)
    file.write_text(yaml.safe_dump(content))
    return file


def test_the_grid_wins_then_later_files(tmp_path: Path) -> None:
    write(tmp_path / "a.yaml", method="a", seed=[1, 2], balancer="a", name="a")
    write(tmp_path / "b.yaml", method="b", balancer="b", exclude=[])
    file = write(tmp_path / "grid.yaml", include=["a.yaml", "b.yaml"], method="own")
    assert read_grid(file) == {"method": "own", "seed": [1, 2], "balancer": "b", "exclude": []}


def test_included_files_include_others_beside_them(tmp_path: Path) -> None:
    write(tmp_path / "deep" / "c.yaml", seed=3)
    write(tmp_path / "deep" / "b.yaml", include="c.yaml", method="b")
    assert read_grid(write(tmp_path / "grid.yaml", include="deep/b.yaml")) == {"seed": 3, "method": "b"}


@pytest.mark.parametrize(
    ("below", "above", "merged"),
    [
        ({"lr": 1, "warmup": 2}, {"lr": 3}, {"lr": 3, "warmup": 2}),
        ({"name": "quick", "lr": 1}, {"name": "quick", "power": 2}, {"name": "quick", "lr": 1, "power": 2}),
        ({"name": "quick", "lr": 1}, {"power": 2}, {"name": "quick", "lr": 1, "power": 2}),
        ({"name": "cagrad", "c": 1}, {"name": "dwa"}, {"name": "dwa"}),
        ("equal", {"name": "dwa"}, {"name": "dwa"}),
        ([1, 2], [3], [3]),
        ({"space": {"a": 1}}, {"space": {"b": 2}}, {"space": {"a": 1, "b": 2}}),
        ({"a": 1}, None, None),
    ],
)
def test_merging(below: Any, above: Any, merged: Any) -> None:
    assert merge({"key": below}, {"key": above}) == {"key": merged}


def test_a_grid_of_included_parts(tmp_path: Path, tiny_registry: Registry) -> None:
    best = {"balancer": {"name": "fixed", "weights": {"semseg": 0.5, "depth": 1.5}, "label": "tuned"}}
    write(tmp_path / "best.yaml", **best, recipe={"lr": 0.02})
    content = {"dataset": "tiny", "tasks": ["semseg", "depth"], "backbone": "tiny", "method": "multi_task"}
    file = write(tmp_path / "grid.yaml", include="best.yaml", **content, recipe={"iterations": 4})
    grid = load_grid(file, tiny_registry, overrides=["recipe.lr=0.5"])
    assert grid.balancers[0].label == "tuned"
    recipe = grid.recipes[0].recipe
    assert (recipe.iterations, recipe.lr) == (4, 0.5)
    assert grid.name == "grid"


def test_plugin_files_lie_beside_the_file_that_names_them(tmp_path: Path) -> None:
    plugin = tmp_path / "common" / "mine.py"
    write(tmp_path / "common" / "grid.yaml", plugins=["mine.py", "elsewhere.py"])
    plugin.write_text("")
    file = write(tmp_path / "grid.yaml", include="common/grid.yaml", plugins=["own.py"])
    assert read_grid(file) == {"plugins": [str(plugin), "elsewhere.py", "own.py"]}


def test_a_circle_is_named(tmp_path: Path) -> None:
    write(tmp_path / "a.yaml", include="deep/b.yaml")
    write(tmp_path / "deep" / "b.yaml", include="../a.yaml")
    with pytest.raises(
        MtlbenchError, match=r"must not include themselves, got .*a.yaml includes .*b.yaml includes"
    ):
        read_grid(tmp_path / "a.yaml")
    file = write(tmp_path / "self.yaml", include="self.yaml")
    with pytest.raises(MtlbenchError, match="must not include themselves"):
        read_grid(file)


@pytest.mark.parametrize(
    ("include", "message"),
    [
        (3, "include: must be one or several files, got 3"),
        ([[]], "include: must be one or several files, got"),
        ("", "include: must be one or several files, got ''"),
        ("none.yaml", "include: file not found: none.yaml (looked for"),
        (".", "include: file not found: ."),
        ("list.yaml", "list.yaml must hold a mapping of grid keys, found a list"),
    ],
)
def test_what_can_not_be_included(tmp_path: Path, include: Any, message: str) -> None:
    (tmp_path / "list.yaml").write_text("- 1")
    file = write(tmp_path / "grid.yaml", include=include)
    with pytest.raises(MtlbenchError) as caught:
        read_grid(file)
    assert message in str(caught.value)


def test_one_file_may_be_included_twice(tmp_path: Path) -> None:
    write(tmp_path / "common.yaml", seed=1)
    write(tmp_path / "a.yaml", include="common.yaml", method="a")
    file = write(tmp_path / "grid.yaml", include=["common.yaml", "a.yaml"])
    assert read_grid(file) == {"seed": 1, "method": "a"}


def test_an_override_includes_nothing(tmp_path: Path, tiny_registry: Registry) -> None:
    file = write(tmp_path / "grid.yaml", dataset="tiny", backbone="tiny", method="multi_task")
    with pytest.raises(MtlbenchError, match="include: must stand in the grid file"):
        load_grid(file, tiny_registry, overrides=["include=other.yaml"])
