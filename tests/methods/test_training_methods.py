"""Every method trains, goes on after an interruption bit for bit, and evaluates, on one task and on all."""

from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import TINY_PLUGINS
from lightning_fabric import Fabric
from trainings import parameters, trainer_of

from mtlbench import evaluation
from mtlbench.building import build_dataset
from mtlbench.data import Dataset
from mtlbench.loading import evaluation_batches
from mtlbench.registry import registry
from mtlbench.spec import Choice, Recipe
from mtlbench.training import Interrupted

SMALL: dict[str, dict[str, Any]] = {
    "degmix": {"dim": 16},
    "demt": {"dim": 16},
    "invpt": {"embed_dim": 16, "extra_channels": 16},
    "invpt_pp": {"embed_dim": 16, "extra_channels": 16},
    "mtformer": {"dim": 16},
    "pad_net": {"channels": 16},
    "mqtransformer": {"dim": 16, "tokens": 4, "channels": 8},
}
INSIDE = ("taskprompter",)
"""What works inside the blocks of certain backbones only, and not of this one."""
IN_STAGES = {"cross_stitch": "staged", "nddr_cnn": "staged", "mtan": "resnet18"}
"""What needs a backbone that can be looked into between its stages, or inside them."""
METHODS = [
    n for n in registry.names("method") if registry.load("method", n).needs_backbone and n not in INSIDE
]
ALL = ("semseg", "depth", "normals", "sal", "human_parts", "edge")
ODD = "37x53"


def rooms(split: str, root: Path, size: str = ODD) -> Dataset:
    options = {"root": str(root), "train": 6, "val": 2, "size": size}
    return build_dataset(Choice(name="rooms", options=options), split, ALL)


@pytest.fixture(scope="module", autouse=True)
def tiny_plugins() -> None:
    registry.add_file(TINY_PLUGINS)
    registry.add_file(TINY_PLUGINS.with_name("joined.py"))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("rooms")


@pytest.mark.parametrize("tasks", [ALL, ("normals",)], ids=["all", "one"])
@pytest.mark.parametrize("name", METHODS)
def test_a_method_trains_resumes_and_evaluates(
    name: str, tasks: tuple[str, ...], root: Path, tmp_path: Path
) -> None:
    backbone = IN_STAGES.get(name, "tiny")
    if registry.load("method", name).unsupported(tasks, backbone):
        assert name == "single_task"
        assert len(tasks) > 1
        return
    method = Choice(name=name, options=SMALL.get(name, {}))

    def train(folder: str, stop_after: int) -> Any:
        trainer = trainer_of(
            tmp_path / folder,
            rooms("train", root),
            "fixed",
            method=method,
            backbone=backbone,
            tasks=tasks,
            iterations=3,
            lr=0.001,
        )
        trainer.stop = lambda: trainer.step == stop_after
        trainer.train()
        return trainer

    whole = train("whole", stop_after=-1)
    with pytest.raises(Interrupted):
        train("cut", stop_after=1)
    resumed = train("cut", stop_after=-1)
    for (key, value), other in zip(parameters(whole).items(), parameters(resumed).values(), strict=True):
        assert torch.equal(value, other), key
    val = rooms("val", root)
    shown = {task: val.tasks[task] for task in tasks}
    batches = evaluation_batches(val, shown, batch_size=1)
    fabric = Fabric(accelerator="cpu", devices=1)
    scores = evaluation.evaluate(resumed.network, batches, shown, fabric, Recipe())
    assert {task: shown[task].primary in found for task, found in scores.items()} == dict.fromkeys(
        tasks, True
    )
