"""Whole trainings without the processes around them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning_fabric import Fabric
from torch import Tensor, nn

from mtlbench.cell import build_balancer, build_dataset, build_network
from mtlbench.data import Dataset, Sample
from mtlbench.folder import RunFolder
from mtlbench.spec import Cell, Choice, Execution, Recipe
from mtlbench.training import Trainer

TASKS = ("semseg", "normals", "depth", "edge")
RECIPE: dict[str, Any] = {"iterations": 6, "batch_size": 2, "lr": 0.02, "weight_decay": 1e-4}
KINDS: dict[str, dict[str, Any]] = {
    "uncertainty": {},
    "gls": {},
    "stch": {"warmup": 1},
    "famo": {},
    "pcgrad": {},
    "cagrad": {"at": "representation"},
    "gradnorm": {},
    "graddrop": {},
    "moco": {},
    "modo": {},
}
"""Of every kind, and in every place, one or more."""


class Sparse(Dataset):
    """Every other image has no label for one task."""

    def __init__(self, whole: Dataset, task: str) -> None:
        self.whole, self.task = whole, task
        self.tasks, self.size, self.requested = whole.tasks, whole.size, whole.requested
        self.transforms, self.default_transform = whole.transforms, whole.default_transform

    def __len__(self) -> int:
        return len(self.whole)

    def __getitem__(self, index: int) -> Sample:
        return {k: v for k, v in self.whole[index].items() if index % 2 == 0 or k != self.task}


def make_rooms(root: Path) -> Dataset:
    options = {"root": str(root), "train": 8, "val": 1, "size": "32x48"}
    return build_dataset(Choice(name="rooms", options=options), "train", TASKS)


def trainer_of(
    folder: Path,
    dataset: Dataset,
    balancer: str,
    options: dict[str, Any] | None = None,
    *,
    dropout: float = 0.0,
    norms: bool = True,
    execution: dict[str, Any] | None = None,
    fabric: Fabric | None = None,
    **recipe: Any,
) -> Trainer:
    """As a cell's process makes it; without `norms`, group norms take the place of batch norms."""
    cell = Cell(
        dataset=Choice(name="rooms"),
        tasks=TASKS,
        backbone=Choice(name="tiny", options={"dropout": dropout}),
        method=Choice(name="multi_task"),
        balancer=Choice(name=balancer, options=options or {}),
        recipe=Recipe(**{**RECIPE, **recipe}),
    )
    tasks = {name: dataset.tasks[name] for name in TASKS}
    network = build_network(cell, tasks)
    for module in [] if norms else list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, nn.GroupNorm(1, child.num_features))
    folder.mkdir(parents=True, exist_ok=True)
    return Trainer(
        cell,
        network,
        build_balancer(cell.balancer, tasks),
        dataset,
        tasks,
        fabric or Fabric(accelerator="cpu", devices=1),
        RunFolder(folder),
        Execution(**{"log_every": 1, "passes": "sequential", **(execution or {})}),
    )


def parameters(trainer: Trainer) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in trainer.network.named_parameters()}
