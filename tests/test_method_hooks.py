"""What a method may ask of the trainer: a schedule, a penalty, an optimizer of its own, auxiliary tasks."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import TINY_PLUGINS
from mtlbench.methods.multi_task import MultiTask
from torch import Tensor, nn
from trainings import make_rooms, trainer_of

from mtlbench.building import learned_tasks
from mtlbench.data import Dataset
from mtlbench.errors import MtlbenchError
from mtlbench.model import Outputs
from mtlbench.registry import Plugin, registry
from mtlbench.spec import Cell, Choice
from mtlbench.training import Interrupted, Trainer


class Hooked(MultiTask):
    """Mixes its features with a weight that its own Adam learns from a penalty, too; predicts twice."""

    def __init__(self, backbone: Any, tasks: Any, *, auxiliary: tuple[str, ...] = ()) -> None:
        super().__init__(backbone, tasks)
        self.mix = nn.Parameter(torch.zeros(()))
        self.auxiliary = auxiliary
        self.progress: list[float] = []

    def decode(self, features: list[Tensor], size: tuple[int, int]) -> Outputs:
        final = super().decode([x * (1 + self.mix) for x in features], size).final
        early = {t: nn.functional.avg_pool2d(x, 4) for t, x in final.items()}
        return Outputs({t: x for t, x in final.items() if t not in self.auxiliary}, {"early": early})

    def schedule(self, progress: float) -> None:
        self.progress.append(progress)

    def penalty(self, tasks: Any) -> Tensor:
        return (self.mix - 3.0).abs()

    def own_optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.Adam([self.mix], lr=0.1)

    def findings(self) -> dict[str, Any]:
        return {"mix": self.mix.item()}


@pytest.fixture(scope="module")
def rooms(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    registry.add_file(TINY_PLUGINS)
    return make_rooms(tmp_path_factory.mktemp("rooms"))


@pytest.fixture(autouse=True)
def hooked(monkeypatch: pytest.MonkeyPatch) -> None:
    get, plugin = registry.get, Plugin("method", "hooked", Hooked, "here")
    monkeypatch.setattr(registry, "get", lambda f, n: plugin if n == "hooked" else get(f, n))


def trained(folder: Path, rooms: Dataset, stop: Callable[[int], bool] = lambda step: False) -> Trainer:
    trainer = trainer_of(folder, rooms, "equal", method=Choice(name="hooked"), iterations=4)
    trainer.stop = lambda: stop(trainer.step)
    trainer.train()
    return trainer


def test_the_own_optimizer_steps_its_parameter_and_no_other_does(tmp_path: Path, rooms: Dataset) -> None:
    trainer = trained(tmp_path, rooms)
    network = trainer.network
    assert isinstance(network, Hooked)
    assert network.progress == [0.0, 0.25, 0.5, 0.75]
    assert 0.3 < network.findings()["mix"] < 0.5  # Adam: its rate a step, against the penalty
    assert all(p is not network.mix for group in trainer.optimizer.param_groups for p in group["params"])


def test_its_state_goes_on_after_an_interruption(tmp_path: Path, rooms: Dataset) -> None:
    whole = trained(tmp_path / "whole", rooms)
    with pytest.raises(Interrupted):
        trained(tmp_path / "cut", rooms, lambda step: step == 2)
    resumed = trained(tmp_path / "cut", rooms)
    for a, b in zip(whole.network.parameters(), resumed.network.parameters(), strict=True):
        assert torch.equal(a, b)


def first_losses(trainer: Trainer) -> dict[str, float]:
    line = trainer.folder.history.read_text().splitlines()[0]
    found: dict[str, float] = json.loads(line)["losses"]
    return found


def test_predictions_of_other_scales_are_resized_for_their_loss(tmp_path: Path, rooms: Dataset) -> None:
    hooked = first_losses(trained(tmp_path, rooms))
    plain = trainer_of(tmp_path / "plain", rooms, "equal", iterations=4)
    plain.train()
    for task, loss in first_losses(plain).items():
        assert 1.5 * loss < hooked[task] < 2.5 * loss  # the same again, from a blurred prediction


def cell(options: dict[str, Any], tasks: tuple[str, ...]) -> Cell:
    return Cell(
        dataset=Choice(name="rooms"),
        tasks=tasks,
        backbone=Choice(name="tiny"),
        method=Choice(name="hooked", options=options),
        balancer=Choice(name="equal"),
    )


def test_tasks_come_in_the_data_sets_order() -> None:
    assert learned_tasks(cell({}, ("edge", "depth", "semseg"))) == ("semseg", "depth", "edge")


def test_auxiliary_tasks_are_learnt(tmp_path: Path, rooms: Dataset) -> None:
    method = Choice(name="hooked", options={"auxiliary": ["normals", "edge"]})
    trainer = trainer_of(tmp_path, rooms, "equal", method=method, tasks=("semseg", "depth"), iterations=1)
    trainer.train()
    assert set(first_losses(trainer)) == {"semseg", "depth", "normals", "edge"}
    assert set(trainer.network(torch.zeros(1, 3, 32, 48)).final) == {"semseg", "depth"}


@pytest.mark.parametrize(
    ("auxiliary", "message"),
    [
        (["edges"], "unknown task `edges`: did you mean `edge`"),
        (["semseg"], "must name tasks that are not evaluated, got semseg"),
    ],
)
def test_wrong_auxiliary_tasks(auxiliary: list[str], message: str) -> None:
    with pytest.raises(MtlbenchError, match=message):
        learned_tasks(cell({"auxiliary": auxiliary}, ("semseg", "depth")))
