"""Plugins of the chaos benchmark: a data set, a backbone and a method that take next to no time but their
pauses, and that write into a file outside of all faults which process has begun or evaluated which cell.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torchvision import tv_tensors

from mtlbench import tasks
from mtlbench.backbones.base import Backbone
from mtlbench.data import Dataset, Sample, Split
from mtlbench.labels import ClassMap, Depth, Normals
from mtlbench.model import Method, Outputs
from mtlbench.tasks import Tasks

EVENTS = "MTLBENCH_CHAOS_EVENTS"
"""Environment variable that names the file."""


class Patches(Dataset):
    """Patches of one grey each, whose labels follow from it."""

    tasks: ClassVar[Tasks] = {
        "semseg": tasks.semseg(("dark", "middle", "bright")),
        "depth": tasks.depth(),
        "normals": tasks.normals(),
    }
    size = (16, 24)
    transforms: ClassVar[Any] = {"noise": lambda size: _add_noise}
    default_transform = "noise"

    def __init__(self, split: Split, tasks: tuple[str, ...], *, images: int = 24) -> None:
        super().__init__(split, tasks)
        self.images = images

    def __len__(self) -> int:
        return self.images

    def __getitem__(self, index: int) -> Sample:
        generator = torch.Generator().manual_seed(index + (0 if self.split == "train" else 10_000))
        grey = torch.rand(1, *self.size, generator=generator)
        labels = {
            "semseg": ClassMap((grey[0] * 2.999).to(torch.uint8)),
            "depth": Depth(1 + grey),
            "normals": Normals(nn.functional.normalize(torch.cat([grey, 1 - grey, grey * 0 + 1]), dim=0)),
        }
        image = tv_tensors.Image((grey * 255).to(torch.uint8).expand(3, -1, -1).clone())
        return {"id": f"{index:04d}", "image": image, **{t: labels[t] for t in self.requested}}

    def fingerprint(self) -> str:
        return "patches"


def _add_noise(sample: Sample) -> Sample:
    image = sample["image"].float() + torch.randint(-5, 6, sample["image"].shape)
    return {**sample, "image": tv_tensors.Image(image.clamp(0, 255).to(torch.uint8))}


class FourConvolutions(Backbone):
    """Four strided convolutions with dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.channels = [8, 8, 8, 8]
        widths = [(3, 8, 4), (8, 8, 2), (8, 8, 2), (8, 8, 2)]
        self.stages = nn.ModuleList(nn.Conv2d(i, o, 3, stride=s, padding=1) for i, o, s in widths)

    def forward(self, images: Tensor) -> list[Tensor]:
        maps = []
        for stage in self.stages:
            images = nn.functional.dropout(torch.relu(stage(images)), 0.1, self.training)
            maps.append(images)
        return maps


def four_convolutions(*, weights: str = "none") -> FourConvolutions:
    """Four strided convolutions."""
    return FourConvolutions()


class Paced(Method):
    """A linear head; each step takes a pause, so that faults find it at work.

    Args:
        pause: seconds after the pass of a step.
    """

    def __init__(self, backbone: Backbone, tasks: Tasks, *, pause: float = 0.05) -> None:
        super().__init__(backbone, tasks)
        self.heads = nn.ModuleDict({name: nn.Conv2d(8, task.channels, 1) for name, task in tasks.items()})
        self.pause = pause
        _tell("begun")

    def decode(self, features: list[Tensor], size: tuple[int, int]) -> Outputs:
        if self.training:
            time.sleep(self.pause)
        heads = self.heads.items()
        return Outputs(
            {t: nn.functional.interpolate(h(features[0]), size, mode="bilinear") for t, h in heads}
        )

    def findings(self) -> dict[str, Any]:
        """Asked once, after the evaluation."""
        _tell("evaluated")
        return {}


def _tell(event: str) -> None:
    """Only of a cell's own process: plans build networks, too."""
    if "run-cell" not in sys.argv or EVENTS not in os.environ:
        return
    cell = Path(sys.argv[-1]).parent.name
    line = json.dumps({"event": event, "cell": cell, "pid": os.getpid()}) + "\n"
    with open(os.environ[EVENTS], "ab", buffering=0) as file:
        file.write(line.encode())


plugins = {
    "dataset": {"patches": Patches},
    "backbone": {"four_convolutions": four_convolutions},
    "method": {"paced": Paced},
}
