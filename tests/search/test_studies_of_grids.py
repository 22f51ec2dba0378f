"""From a grid with `tune` to its studies."""

from __future__ import annotations

from pathlib import Path

import pytest
from tuned_grid import load

from mtlbench.config import Grid
from mtlbench.errors import MtlbenchError
from mtlbench.plan import expand
from mtlbench.registry import Registry
from mtlbench.search.plans import StudyPlan, plan_studies, studies_of
from mtlbench.search.spaces import OneOf, Range, Simplex


def only(grid: Grid, registry: Registry) -> StudyPlan:
    (plan,) = studies_of(grid, registry)
    return plan


def own_cells(grid: Grid, registry: Registry) -> set[str]:
    return {cell.id for cell in expand(grid, registry).cells}


def test_tuning_equal_weights_gives_fixed_ones(tmp_path: Path, tiny_registry: Registry) -> None:
    grid = load(tmp_path, tiny_registry)
    plan = only(grid, tiny_registry)
    assert plan.space == {"balancer.weights": Simplex(0.1, 10, ("semseg", "depth"))}
    assert plan.defaults == {"balancer.weights": {"semseg": 1.0, "depth": 1.0}}
    assert plan.settings.seeds == (4,)
    (cell,) = plan.cells(plan.defaults, 3)
    assert cell.id in own_cells(grid, tiny_registry)
    weights = {"semseg": 0.5, "depth": 1.5}
    (cell,) = plan.cells({"balancer.weights": weights}, 4)
    assert (str(cell.balancer), cell.seed) == (f"fixed (weights={weights})", 4)
    labels = plan.changed({"balancer.weights": weights}).labels()
    assert (labels["balancer"], labels["method"]) == ("equal, tuned", "multi_task")


def test_cells_of_trials_are_held_out(tmp_path: Path, tiny_registry: Registry) -> None:
    plan = only(load(tmp_path, tiny_registry), tiny_registry)
    cells = [*plan.cells({}, 4, holdout=0.25), *plan.baseline_cells(4, holdout=0.25)]
    assert [cell.holdout for cell in cells] == [0.25] * 3
    assert [cell.tasks for cell in cells] == [("semseg", "depth"), ("semseg",), ("depth",)]


def test_a_fragment_says_the_same(tmp_path: Path, tiny_registry: Registry) -> None:
    space = {"balancer": "declared", "recipe.lr": {"low": 1e-4, "high": 1.0, "log": True}}
    plan = only(load(tmp_path, tiny_registry, tune={"space": space}), tiny_registry)
    values = {"balancer.weights": {"semseg": 0.5, "depth": 1.5}, "recipe.lr": 0.02}
    fragment = plan.fragment(values)
    assert fragment == {
        "balancer": {"name": "fixed", "weights": {"semseg": 0.5, "depth": 1.5}, "label": "equal, tuned"},
        "recipe": {
            "iterations": 4,
            "batch_size": 4,
            "lr": 0.02,
            "label": "custom (batch_size=4, iterations=4), tuned",
        },
    }
    again = load(tmp_path, tiny_registry, tune=None, **fragment)
    assert {cell.id for cell in plan.cells(values, 0)} < own_cells(again, tiny_registry)


def test_what_an_entry_sets_is_the_default_or_stays(tmp_path: Path, tiny_registry: Registry) -> None:
    entry = {"name": "fixed", "weights": {"semseg": 9, "depth": 1}}
    with pytest.raises(MtlbenchError, match=r"grid g has nothing to tune: .*no tuned option"):
        studies_of(load(tmp_path, tiny_registry, balancer=entry), tiny_registry)
    tune = {"space": {"balancer.weights": {"low": 0.1, "high": 10}}}
    grid = load(tmp_path, tiny_registry, balancer=entry, tune=tune)
    plan = only(grid, tiny_registry)
    assert plan.defaults == {"balancer.weights": {"semseg": 9.0, "depth": 1.0}}
    assert plan.space == {"balancer.weights": Simplex(0.1, 10, ("semseg", "depth"), total=10)}
    assert {cell.id for cell in plan.cells({}, 0)} < own_cells(grid, tiny_registry)


def test_fixed_weights_start_from_the_published_ones(tmp_path: Path, tiny_registry: Registry) -> None:
    grid = load(tmp_path, tiny_registry, balancer="fixed", tasks=["semseg", "normals"])
    plan = only(grid, tiny_registry)
    assert plan.defaults == {"balancer.weights": {"semseg": 1.0, "normals": 10.0}}
    assert plan.cells({}, 0)[0].balancer.options == {}


def test_one_study_a_setting(tmp_path: Path, tiny_registry: Registry) -> None:
    space = {"method.when": [1, 2, 3], "recipe.warmup": {"low": 0, "high": 3}}
    changes = {"method": ["multi_task", "troubled", "single_task"], "balancer": ["equal", "pcgrad"]}
    grid = load(tmp_path, tiny_registry, **changes, tune={"space": space})
    plans = studies_of(grid, tiny_registry)
    warmup = {"recipe.warmup": Range(0, 3, whole=True)}
    assert [(p.setting.method.label, p.setting.balancer.label, p.space) for p in plans] == [
        ("multi_task", "equal", warmup),
        ("multi_task", "pcgrad", warmup),
        ("troubled", "equal", {"method.when": OneOf((1, 2, 3)), **warmup}),
        ("troubled", "pcgrad", {"method.when": OneOf((1, 2, 3)), **warmup}),
        ("single_task", "", warmup),
    ]
    assert len({plan.name for plan in plans}) == 5
    assert plans[0].name.startswith("g-tiny-tiny-multi_task-equal-")


def test_what_is_left_out_is_said(tmp_path: Path, tiny_registry: Registry) -> None:
    found = plan_studies(load(tmp_path, tiny_registry, balancer=["pcgrad", "equal"]), tiny_registry)
    assert len(found.plans) == 1
    ((label, reason),) = found.left_out.items()
    assert "pcgrad" in label
    assert "no tuned option" in reason


def test_what_is_excluded_has_no_study_but_bears_on_no_trial(tmp_path: Path, tiny_registry: Registry) -> None:
    changes = {"balancer": ["equal", "fixed"], "exclude": [{"balancer": "fixed"}]}
    plan = only(load(tmp_path, tiny_registry, **changes), tiny_registry)
    (cell,) = plan.cells({"balancer.weights": {"semseg": 0.5, "depth": 1.5}}, 0)
    assert cell.balancer.name == "fixed"


def test_lists_are_values_of_options_that_take_them(tmp_path: Path, tiny_registry: Registry) -> None:
    space = {"method.auxiliary": [[], ["normals"]]}
    changes = {"method": "pad_net", "tune": {"space": space}}
    plan = only(load(tmp_path, tiny_registry, **changes), tiny_registry)
    assert plan.defaults == {"method.auxiliary": []}
    (cell,) = plan.cells({"method.auxiliary": ["normals"]}, 0)
    assert cell.method.options == {"auxiliary": ["normals"]}


def test_names_change_with_what_makes_trials_incomparable(tmp_path: Path, tiny_registry: Registry) -> None:
    tunes = [{}, {"trials": 9}, {"holdout": 0.3}, {"seed": 9}, {"objective": "tasks"}]
    tunes.append({"space": {"balancer.weights": {"low": 0.5, "high": 2}}})
    names = [only(load(tmp_path, tiny_registry, tune=tune), tiny_registry).name for tune in tunes]
    assert names[0] == names[1]
    assert len(set(names)) == 5


def test_a_grid_without_the_key_has_its_defaults(tmp_path: Path, tiny_registry: Registry) -> None:
    plan = only(load(tmp_path, tiny_registry, tune=None), tiny_registry)
    assert list(plan.space) == ["balancer.weights"]
    with pytest.raises(MtlbenchError, match=r"tune.objective: `delta_m` compares with a baseline"):
        studies_of(load(tmp_path, tiny_registry, tune=None, baseline=None), tiny_registry)


def test_corners_have_one_value_at_an_end(tmp_path: Path, tiny_registry: Registry) -> None:
    space = {"recipe.lr": {"low": 0.001, "high": 0.1, "log": True}, "recipe.optimizer": ["sgd", "adamw"]}
    grid = load(tmp_path, tiny_registry, tune={"space": space})
    cells = only(grid, tiny_registry).corners(0)
    found = [(cell.recipe.lr, cell.recipe.optimizer) for cell in cells]
    assert found == [(0.001, "sgd"), (0.1, "sgd"), (0.01, "sgd"), (0.01, "adamw")]


def test_trials_are_put_together_of_the_held_out_baseline(tmp_path: Path, tiny_registry: Registry) -> None:
    tune = {"space": {"method.alpha": {"low": 0.5, "high": 0.9}}}
    changes = {"method": "cross_stitch", "backbone": "resnet18", "tune": tune}
    plan = only(load(tmp_path, tiny_registry, **changes), tiny_registry)
    (cell,) = plan.cells({"method.alpha": 0.6}, 4, holdout=0.25)
    assert cell.method.options == {"alpha": 0.6}
    assert [one.id for one in cell.joins] == [one.id for one in plan.baseline_cells(4, holdout=0.25)]
