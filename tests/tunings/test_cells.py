"""Tuned cells from start to result, stopped on the way and not."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from _pytest.mark import ParameterSet
from conftest import TINY_PLUGINS
from rich.console import Console

from mtlbench import checkpoint
from mtlbench.building import build_network
from mtlbench.cell import EXIT_DONE, EXIT_INTERRUPTED, run_cell
from mtlbench.errors import MtlbenchError
from mtlbench.evaluate_command import evaluate
from mtlbench.folder import Job, RunFolder
from mtlbench.profiling import count_cell
from mtlbench.profiling.networks import tasks_of
from mtlbench.registry import registry
from mtlbench.spec import Cell, Choice, Recipe, Start
from mtlbench.starting import start_from
from mtlbench.training import Trainer

pytestmark = pytest.mark.usefixtures("undisturbed")

CELLS: list[tuple[str, dict[str, Any], str]] = [
    ("decoder", {}, "pcgrad"),
    ("bitfit", {"backbone_mode": "eval"}, "uncertainty"),
    ("lora", {"dropout": 0.2, "bias": "all"}, "pcgrad"),
]
ON_BLOCKS: list[tuple[str, dict[str, Any], str]] = [
    ("adapter", {}, "equal"),
    ("lora", {"per_task": True, "dropout": 0.2}, "pcgrad"),
    ("vpt_deep", {"prompts": 2}, "equal"),
    ("hyperformer", {"reduction": 2, "embedding": 4}, "equal"),
    ("mtlora", {"r": 2}, "pcgrad"),
    ("ditask", {"cells": 4}, "equal"),
]
"""With maps of each task's own, on a backbone of transformer blocks."""
BLOCKS_PLUGINS = TINY_PLUGINS.with_name("tiny_blocks.py")


@pytest.fixture(autouse=True)
def blocks() -> None:
    registry.add_file(BLOCKS_PLUGINS)


def make_cell(tuning: str, options: dict[str, Any], balancer: str) -> Cell:
    return Cell(
        dataset=Choice(name="tiny"),
        tasks=("semseg", "depth"),
        backbone=Choice(name="tiny"),
        method=Choice(name="troubled"),
        balancer=Choice(name=balancer),
        tuning=Choice(name=tuning, options=options),
        recipe=Recipe(iterations=8, batch_size=4),
    )


def cell_on_blocks(tuning: str, options: dict[str, Any], balancer: str) -> Cell:
    return make_cell(tuning, options, balancer).changed(
        backbone=Choice(name="tiny_swin"),
        method=Choice(name="multi_task"),
        recipe=Recipe(iterations=4, batch_size=2),
    )


def every_cell() -> list[ParameterSet]:
    made = [*(make_cell(*case) for case in CELLS), *(cell_on_blocks(*case) for case in ON_BLOCKS)]
    return [pytest.param(cell, id=cell.tuning.name) for cell in made]


def job(cell: Cell, folder: Path) -> Job:
    return Job(cell=cell, folder=folder, plugins=(str(TINY_PLUGINS), str(BLOCKS_PLUGINS)))


def network_state(folder: Path) -> dict[str, torch.Tensor]:
    """As the cell ended."""
    return last_checkpoint(folder)["network"]


def last_checkpoint(folder: Path) -> dict[str, Any]:
    state = checkpoint.load(RunFolder(folder).checkpoint)
    assert state is not None
    return state


@pytest.mark.parametrize("cell", every_cell())
def test_stopped_and_continued(cell: Cell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    half = cell.recipe.iterations // 2
    ahead = count_cell(cell, (16, 24))
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    assert run_cell(job(cell, straight)) == EXIT_DONE
    step = Trainer._step

    def interrupted(self: Trainer, *args: Any, **named: Any) -> Any:
        if self.step == half - 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, *args, **named)

    monkeypatch.setattr(Trainer, "_step", interrupted)
    assert run_cell(job(cell, stopped)) == EXIT_INTERRUPTED
    assert run_cell(job(cell, stopped)) == EXIT_DONE
    first, second = RunFolder(straight).result(), RunFolder(stopped).result()
    assert first is not None
    assert second is not None
    assert first.scores == second.scores
    ended, again = network_state(straight), network_state(stopped)
    assert ended.keys() == again.keys()
    assert all(torch.equal(ended[name], again[name]) for name in ended)
    costs = first.costs
    assert 0 < costs.trainable < costs.parameters
    assert (costs.parameters, costs.trainable, costs.macs) == (ahead.parameters, ahead.trainable, ahead.macs)
    if cell.method.name == "multi_task":
        assert evaluated(RunFolder(stopped).weights, tmp_path / "scores.json") == first.scores


def evaluated(weights: Path, out: Path) -> Any:
    """Scores of a file of final weights, which is without the frozen ones."""
    evaluate(
        Console(quiet=True),
        method="multi_task",
        weights=str(weights),
        backbone=None,
        method_options={},
        dataset="tiny",
        dataset_options={},
        tasks=None,
        batch_size=2,  # as in training, for the same numbers
        out=out,
        every_metric=False,
    )
    return json.loads(out.read_text())["scores"]


@pytest.mark.parametrize(
    ("tuning", "options"), [("adapter", {}), ("hyperformer", {"reduction": 2, "embedding": 4})]
)
def test_a_task_is_added(tuning: str, options: dict[str, Any], tmp_path: Path) -> None:
    """What was trained is taken over, and of the frozen backbone all; the new task's own starts anew."""
    cell = cell_on_blocks(tuning, options, "equal")
    base = cell.changed(tasks=("semseg",))
    assert run_cell(job(base, tmp_path / "base")) == EXIT_DONE
    network = build_network(cell.changed(seed=5), tasks_of(cell))
    initial = {name: value.clone() for name, value in network.state_dict().items()}
    start_from(network, Start(cell=base), RunFolder(tmp_path / "base"))
    trained = network_state(tmp_path / "base")
    for name, value in network.state_dict().items():
        if "depth" in name.split("."):
            assert torch.equal(value, initial[name])
        elif name in trained:
            assert torch.equal(value, trained[name])
    assert any("semseg" in name.split(".") and name.startswith("backbone.") for name in trained)


def test_trained_in_the_optimizer_only(tmp_path: Path) -> None:
    """What is frozen costs no memory for momentum, neither in training nor in the checkpoint."""
    folder = tmp_path / "cell"
    assert run_cell(job(make_cell("decoder", {}, "equal"), folder)) == EXIT_DONE
    network = network_state(folder)
    momenta = [e["momentum_buffer"].shape for e in last_checkpoint(folder)["optimizer"]["state"].values()]
    assert sorted(momenta) == sorted(value.shape for name, value in network.items() if "heads" in name)


def test_wrong_targets_are_found_before_a_grid_starts() -> None:
    with pytest.raises(MtlbenchError, match=r"`q_proj` names none of this backbone's: stages\.\* \(4\)"):
        count_cell(make_cell("lora", {"targets": ["q_proj"]}, "equal"), (16, 24))
