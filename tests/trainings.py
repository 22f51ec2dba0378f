"""Whole trainings without the processes around them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from mtlbench.building import build_balancer, build_dataset, build_network, learned_tasks
from mtlbench.data import Dataset, Sample
from mtlbench.folder import RunFolder
from mtlbench.spec import Cell, Choice, Execution, Recipe
from mtlbench.training import Trainer

TASKS = ("semseg", "normals", "depth", "edge")
RECIPE: dict[str, Any] = {"iterations": 6, "batch_size": 2, "lr": 0.02, "weight_decay": 1e-4}
MULTI_TASK = Choice(name="multi_task")
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
TUNED: dict[str, Choice] = {
    "mtlora": Choice(name="mtlora", options={"r": 2, "dropout": 0.0}),
    "own_lora": Choice(name="lora", options={"per_task": True}),
}
"""Tunings with weights of each task's own, for the backbone `tiny_swin`."""


class _Spoilt(Dataset):
    """A data set whose labels of one task are not as they were."""

    def __init__(self, whole: Dataset, task: str) -> None:
        self.whole, self.task = whole, task
        self.tasks, self.size, self.requested = whole.tasks, whole.size, whole.requested
        self.transforms, self.default_transform = whole.transforms, whole.default_transform

    def __len__(self) -> int:
        return len(self.whole)


class Sparse(_Spoilt):
    """Every other image has no label for one task."""

    def __getitem__(self, index: int) -> Sample:
        return {k: v for k, v in self.whole[index].items() if index % 2 == 0 or k != self.task}


class Garbage(_Spoilt):
    """Labels of one task that say nothing."""

    def __getitem__(self, index: int) -> Sample:
        sample = self.whole[index]
        return {**sample, self.task: torch.ones_like(sample[self.task])}


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
    method: Choice = MULTI_TASK,
    tuning: Choice = Cell.model_fields["tuning"].default,
    backbone: str = "tiny",
    tasks: tuple[str, ...] = TASKS,
    left_out: tuple[str, ...] = (),
    **recipe: Any,
) -> Trainer:
    """As a cell's process makes it; without `norms`, group norms take the place of batch norms, and no path
    of the backbone is dropped: nothing depends on who has which image.
    """
    cell = Cell(
        dataset=Choice(name="rooms"),
        tasks=tasks,
        backbone=Choice(name=backbone, options={"dropout": dropout} if backbone == "tiny" else {}),
        method=method,
        balancer=Choice(name=balancer, options=options or {}),
        tuning=tuning,
        recipe=Recipe(**{**RECIPE, **recipe}),
        left_out=left_out,
    )
    learned = {name: dataset.tasks[name] for name in learned_tasks(cell)}
    trained = {name: task for name, task in learned.items() if name not in left_out}
    network = build_network(cell, learned)
    for module in [] if norms else list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, nn.GroupNorm(1, child.num_features))
            if hasattr(child, "drop_prob"):
                child.drop_prob = 0.0
    folder.mkdir(parents=True, exist_ok=True)
    return Trainer(
        cell,
        network,
        build_balancer(cell.balancer, trained),
        dataset,
        trained,
        fabric or Fabric(accelerator="cpu", devices=1),
        RunFolder(folder),
        Execution(**{"log_every": 1, "passes": "sequential", **(execution or {})}),
    )


def parameters(trainer: Trainer) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in trainer.network.named_parameters()}


def every_kind(place: Path, rooms: Dataset, fabric: Fabric | None = None) -> Iterator[tuple[str, Trainer]]:
    """Of balancers, with images some of which lack depth; of tunings; and with a task left out: by name."""
    shared: dict[str, Any] = {"norms": False, "fabric": fabric, "batch_size": 4}
    for name, options in KINDS.items():
        yield name, trainer_of(place / name, Sparse(rooms, "depth"), name, options, **shared)
    for name, tuning in TUNED.items():
        own = {"tuning": tuning, "backbone": "tiny_swin"}
        yield name, trainer_of(place / name, rooms, "equal", **shared, **own)
    yield "left_out", trainer_of(place / "left_out", rooms, "equal", **shared, left_out=("edge",))
