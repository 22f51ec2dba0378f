"""Domains: what they suggest to Optuna's trials, and what a grid file may not write."""

from __future__ import annotations

from typing import Any

import optuna
import pytest
from conftest import TINY_PLUGINS
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import FixedTrial

from mtlbench.errors import MtlbenchError
from mtlbench.options import expand_choice
from mtlbench.registry import Registry, registry
from mtlbench.search.spaces import Domain, OneOf, Range, Simplex, domains, parse_domain
from mtlbench.search.tunable import TunablePlugin
from mtlbench.testing.balancers import balancer_tasks

TASKS = ("semseg", "depth", "normals")


@pytest.mark.parametrize(
    ("domain", "value"),
    [
        (Range(0.001, 1, log=True), 0.02),
        (Range(0, 1, step=0.25), 0.75),
        (Range(1, 64, log=True, whole=True), 8),
        (Range(0, 10, whole=True, step=5), 5),
        (OneOf((1, 2, 4)), 4),
        (OneOf((None, "l2", True)), None),
        (OneOf(([1, 2], [3])), [3]),
        (Simplex(0.1, 10, TASKS), {"semseg": 0.3, "depth": 2.4, "normals": 0.3}),
        (Simplex(0.1, 10, TASKS, total=61), {"semseg": 1.0, "depth": 10.0, "normals": 50.0}),
    ],
)
def test_parameters_are_those_for_which_the_value_is_suggested(domain: Domain, value: Any) -> None:
    parameters = domain.parameters(value, "key")
    found = domain.suggest(FixedTrial(parameters), "key")
    assert found == value
    assert type(found) is type(value)
    assert domain.contains(value)


@pytest.mark.parametrize(
    "domain",
    [Range(1e-4, 0.3, log=True), Range(1, 7, whole=True), Range(0, 1, step=0.1), Simplex(0.1, 10, TASKS)],
)
def test_what_is_suggested_is_contained_and_short(domain: Domain) -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(50):
        value = domain.suggest(study.ask(), "key")
        assert domain.contains(value)
        for number in value.values() if isinstance(value, dict) else [value]:
            assert len(f"{number:g}".replace(".", "").lstrip("0").partition("e")[0]) <= 4


@given(st.lists(st.floats(0.1, 10), min_size=2, max_size=5), st.floats(0.5, 100))
@settings(max_examples=50, deadline=None)
def test_weights_of_a_simplex(raw: list[float], total: float) -> None:
    tasks = tuple(f"task{i}" for i in range(len(raw)))
    trial = FixedTrial({f"w.{task}": value for task, value in zip(tasks, raw, strict=True)})
    weights = Simplex(0.1, 10, tasks, total).suggest(trial, "w")
    assert sum(weights.values()) == pytest.approx(total, rel=1e-3)
    for task, value in zip(tasks, raw, strict=True):
        assert weights[task] / weights["task0"] == pytest.approx(value / raw[0], rel=2e-3)


@pytest.mark.parametrize(
    ("domain", "value"),
    [
        (Range(0, 1), 1.1),
        (Range(0, 1), True),
        (Range(0, 1), None),
        (Range(0, 1), "0.5"),
        (Range(0, 4, whole=True), 2.5),
        (Range(0, 1, step=0.5), 0.4),
        (OneOf((0, 1)), True),
        (OneOf((0, 1)), 2),
        (Simplex(0.5, 2, TASKS), {"semseg": 1.0, "depth": 1.0, "normals": 5.0}),
        (Simplex(0.5, 2, TASKS), {"semseg": 1.0, "depth": 1.0}),
        (Simplex(0.5, 2, TASKS), {"semseg": 1.0, "depth": 1.0, "normals": 0.0}),
    ],
)
def test_what_is_not_contained(domain: Domain, value: Any) -> None:
    assert not domain.contains(value)


def test_values_are_the_same_where_they_are_rounded_alike() -> None:
    assert Range(0, 1).same(0.123456, 0.12349)
    assert not Range(0, 1).same(0.123456, 0.12359)
    assert OneOf((1, 2)).same(2, 2.0)
    assert not OneOf((1, True)).same(1, True)
    assert Simplex(0.1, 10, TASKS).same({"a": 1.00001}, {"a": 1.0})


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (3, "must be a list of values, or a range such as {low: 0.1, high: 10, log: true}, got 3"),
        ([], "must have at least two different values, got []"),
        ([1, 1], "must have at least two different values, got [1, 1]"),
        ({}, "needs `low` and `high`"),
        ({"low": 1}, "needs `high`"),
        ({"low": 1, "high": 2, "lgo": True}, "unknown key of a range `lgo`: did you mean `low` or `log`?"),
        ({"low": 2, "high": 1}, "must have `low` < `high`, got 2 and 1"),
        ({"low": 1, "high": 1}, "must have `low` < `high`, got 1 and 1"),
        (
            {"low": 0, "high": 1, "log": True},
            "must have `low` > 0 where all sizes are equally likely (log), got 0",
        ),
        ({"low": "0", "high": 1}, "must have a finite number as `low`, got '0'"),
        ({"low": 0, "high": float("inf")}, "must have a finite number as `high`, got inf"),
        ({"low": 0, "high": 1, "log": 1}, "must have true or false as `log`, got 1"),
        ({"low": 0.5, "high": 3, "whole": True}, "must have whole numbers as ends and step, got 0.5, 3"),
        ({"low": 1, "high": 2, "log": True, "step": 1}, "must have `log` or `step`, not both"),
        ({"low": 0, "high": 1, "step": 0.3}, "a whole number leads to `high`, got 0.3 from 0 to 1"),
        ({"low": 0, "high": 1, "step": -1}, "must have a `step` > 0"),
    ],
)
def test_what_a_grid_file_may_not_write(value: Any, message: str) -> None:
    with pytest.raises(MtlbenchError) as caught:
        parse_domain(value)
    assert message in str(caught.value)


def test_weights_by_task_have_no_step() -> None:
    declared = Simplex(0.1, 10)
    assert parse_domain({"low": 0.5, "high": 2}, declared) == Simplex(0.5, 2)
    assert parse_domain("declared", declared) == declared
    with pytest.raises(MtlbenchError, match=r"unknown key of a range `step`: valid: low, high"):
        parse_domain({"low": 0.5, "high": 2, "step": 1}, declared)


@pytest.mark.parametrize(
    "domain", [Range(1, 8, log=True, whole=True), Range(0, 1, step=0.5), OneOf(("a", None))]
)
def test_domains_are_written_as_grid_files_write_them(domain: Domain) -> None:
    assert parse_domain(domain.to_dict()) == domain


def test_declared_spaces_are_fixed() -> None:
    with pytest.raises(TypeError):
        domains(c=Range(0, 1))["c"] = Range(0, 2)  # type: ignore[index]


@pytest.mark.parametrize("family", ["balancer", "method", "tuning"])
def test_every_plugin_declares_legal_spaces_around_its_defaults(family: str) -> None:
    found = []
    for plugin in registry.plugins(family):
        entry = tunable(registry, family, plugin.name)
        assert entry.declared.keys() == getattr(plugin.load(), "search_space", {}).keys(), plugin.name
        for option in entry.declared:
            domain = entry.domain(option, "declared")
            if isinstance(domain, Simplex):
                weights = entry.default(option, domain, balancer_tasks())
                assert domain.over(tuple(weights)).contains(weights), plugin.name
            else:
                assert domain.contains(entry.default(option, domain, {})), f"{plugin.name}: {option}"
            found.append(f"{plugin.name}.{option}")
    assert {"balancer": "cagrad.c", "method": "degmix.depth", "tuning": "lora.r"}[family] in found


def test_a_plugin_that_lacks_an_option_of_its_parent_is_not_tuned_by_it() -> None:
    plugins = Registry()
    plugins.add_file(TINY_PLUGINS.with_name("joined.py"))
    assert "alpha" in tunable(plugins, "method", "cross_stitch").declared
    stitched = tunable(plugins, "method", "stitched")
    assert not stitched.declared
    with pytest.raises(MtlbenchError, match="method `stitched` declares no space for this option"):
        stitched.domain("alpha", "declared")


def tunable(plugins: Registry, family: str, name: str) -> TunablePlugin:
    (labelled,), problems = expand_choice(plugins, family, name, family)
    assert not problems
    return TunablePlugin(plugins, family, labelled)
