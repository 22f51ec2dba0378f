"""Measurements: what they run, what they return, and what becomes of failures. No number is judged."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric

from mtlbench import tasks
from mtlbench.building import build_network
from mtlbench.forward import Forward
from mtlbench.profiling.apart import Failed, measure_apart, measure_here
from mtlbench.profiling.lines import measure_cells
from mtlbench.profiling.networks import tasks_of
from mtlbench.profiling.timing import Load, Timing, measure, random_batch, random_labels, training_step
from mtlbench.registry import Registry
from mtlbench.spec import Cell, Choice, Recipe
from mtlbench.tasks import Task

LOAD = Load(size=(16, 24), batch=2, runs=1, device="cpu")


def cell(**options: Any) -> Cell:
    return Cell(
        dataset=Choice(name="tiny"),
        tasks=("semseg", "depth", "normals", "edge"),
        backbone=Choice(name="tiny", options={"weights": "no such file"}),
        method=Choice(name="troubled", options=options),
        balancer=Choice(name="equal"),
        recipe=Recipe(batch_size=2),
    )


@pytest.fixture
def forward(tiny_registry: Registry) -> Forward:
    made = cell().model_copy(update={"backbone": Choice(name="tiny")})
    known = tasks_of(made)
    return Forward(build_network(made, known), known, made.recipe, Fabric(accelerator="cpu", devices=1))


FACTORIES: list[Callable[[], Task]] = [
    lambda: tasks.semseg(("a", "b", "c")),
    tasks.depth,
    tasks.normals,
    tasks.edge,
    tasks.sal,
]


@pytest.mark.parametrize("make", FACTORIES)
def test_random_labels_fit_their_task(make: Callable[[], Task]) -> None:
    task = make()
    labels = random_labels(task, (5, 7), 2)
    assert task.valid(labels).all()
    assert task.valid(labels).shape == (2, 5, 7)
    assert torch.isfinite(task.loss(torch.randn(2, task.channels, 5, 7), labels))


def test_a_training_step_trains(forward: Forward) -> None:
    before = {name: p.clone() for name, p in forward.network.named_parameters()}
    batch = random_batch(forward.tasks, LOAD.size, 2, torch.device("cpu"))
    training_step(forward, batch)()
    assert forward.network.training
    moved = {name for name, p in forward.network.named_parameters() if not torch.equal(p, before[name])}
    assert moved == {name for name in before if name.startswith(("backbone.stages.0.", "heads."))}


def test_everything_is_measured(tiny_registry: Registry) -> None:
    timing = measure(cell(), LOAD)
    assert timing.not_merged is None
    assert all(value >= 0 for name, value in vars(timing).items() if name != "not_merged")
    assert timing.latency_ms > 0
    assert timing.inference_mb <= (timing.training_mb or 0)


@pytest.mark.parametrize("reason", [None, "prompts can't be merged"])
def test_inference_is_that_of_the_merged_network(
    reason: str | None, tiny_registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[bool, bool]] = []
    lora = tiny_registry.load("tuning", "lora")
    merge = lora.merge if reason is None else lambda tuning, network: reason
    passed = Forward.__call__

    def noting(forward: Forward, *args: Any) -> Any:
        seen.append((torch.is_grad_enabled(), any("lora" in n for n, _ in forward.network.named_modules())))
        return passed(forward, *args)

    monkeypatch.setattr(lora, "merge", merge)
    monkeypatch.setattr(Forward, "__call__", noting)
    timing = measure(cell().model_copy(update={"tuning": Choice(name="lora")}), LOAD)
    assert timing.not_merged == reason
    assert {adapted for training, adapted in seen if training} == {True}
    assert {adapted for training, adapted in seen if not training} == {reason is not None}


def test_nothing_to_train(tiny_registry: Registry) -> None:
    frozen = cell().model_copy(update={"method": Choice(name="constant")})
    timing = measure(frozen, LOAD)
    assert timing.step_ms is timing.training_mb is None
    assert timing.images_per_second > 0


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"trouble": "memory", "when": 1}, "out of memory"),
        ({"trouble": "raise", "when": 1}, "ValueError: told to fail"),
    ],
)
def test_errors_become_reasons(options: dict[str, Any], reason: str, tiny_registry: Registry) -> None:
    assert measure_here(cell(**options), LOAD, (), torch.get_num_threads()) == Failed(reason)


def test_a_killed_process_is_a_reason_too(tiny_registry: Registry) -> None:
    found = measure_apart(cell(trouble="kill", when=1), LOAD)
    assert found == Failed("the process was killed, for want of memory probably")


def test_networks_run_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    found: dict[int, Timing | Failed] = {
        0: Timing(10.0, 4.0, 100.0, 50.0, 70.0),
        1: Timing(30.0, 4.0, None, 60.0, None),
        2: Failed("no"),
    }
    monkeypatch.setattr("mtlbench.profiling.lines.measure_apart", lambda cell, load: found[cell.seed])
    cells = [cell().model_copy(update={"seed": seed}) for seed in range(3)]
    assert measure_cells(cells[:2], LOAD) == Timing(40.0, 2.0, 100.0, 60.0, 70.0)
    assert measure_cells(cells, LOAD) == Failed("no")
