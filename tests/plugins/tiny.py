"""A data set and a network small enough for tests that start real processes, and ways to fail on demand."""

import os
import signal
import time
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torchvision import tv_tensors

from mtlbench import tasks
from mtlbench.backbones.base import Backbone
from mtlbench.data import Dataset, Sample, Split
from mtlbench.errors import DataError
from mtlbench.labels import ClassMap, Depth, Normals
from mtlbench.model import Method, Outputs
from mtlbench.tasks import Tasks


class Tiny(Dataset):
    """Coloured noise whose labels follow from the image."""

    tasks: ClassVar[Tasks] = {
        "semseg": tasks.semseg(("dark", "middle", "bright")),
        "depth": tasks.depth(),
        "normals": tasks.normals(),
        "edge": tasks.edge(),
    }
    size = (16, 24)
    transforms: ClassVar[Any] = {"none": lambda size: lambda sample: sample, "noise": lambda size: add_noise}
    default_transform = "noise"

    def __init__(
        self,
        split: Split,
        tasks: tuple[str, ...],
        *,
        images: int = 16,
        unlabelled: str | None = None,
        root: str = "",
    ) -> None:
        super().__init__(split, tasks)
        self.images = images
        self.unlabelled = unlabelled
        if root and not Path(root).is_dir():
            raise DataError(f"no folder {root}")

    def __len__(self) -> int:
        return self.images

    def __getitem__(self, index: int) -> Sample:
        offset = 0 if self.split == "train" else 10_000
        generator = torch.Generator().manual_seed(offset + index)
        grey = torch.rand(1, *self.size, generator=generator)
        sample = {
            "id": f"{index:04d}",
            "image": tv_tensors.Image((grey * 255).to(torch.uint8).expand(3, -1, -1).clone()),
            "semseg": ClassMap((grey[0] * 2.999).to(torch.uint8)),
            "depth": Depth(1 + grey),
            "normals": Normals(
                nn.functional.normalize(torch.cat([grey, 1 - grey, torch.ones_like(grey)]), dim=0)
            ),
            "edge": ClassMap((grey[0] > 0.8).to(torch.uint8)),
        }
        wanted = [t for t in self.requested if not (t == self.unlabelled and index % 2)]
        return {key: sample[key] for key in ("id", "image", *wanted)}

    def fingerprint(self) -> str:
        return "tiny"


def add_noise(sample: Sample) -> Sample:
    image = sample["image"].float() + torch.randint(-5, 6, sample["image"].shape)
    return {**sample, "image": tv_tensors.Image(image.clamp(0, 255).to(torch.uint8))}


class TinyBackbone(Backbone):
    """Four strided convolutions with dropout."""

    def __init__(self, dropout: float = 0.1) -> None:
        super().__init__()
        self.dropout = dropout
        self.channels = [8, 8, 8, 8]
        widths = [(3, 8, 4), (8, 8, 2), (8, 8, 2), (8, 8, 2)]
        self.stages = nn.ModuleList(nn.Conv2d(i, o, 3, stride=s, padding=1) for i, o, s in widths)

    def forward(self, images: Tensor) -> list[Tensor]:
        maps = []
        for stage in self.stages:
            images = nn.functional.dropout(torch.relu(stage(images)), self.dropout, self.training)
            maps.append(images)
        return maps


def tiny_backbone(*, weights: str = "none", dropout: float = 0.1) -> TinyBackbone:
    """Four strided convolutions."""
    return TinyBackbone(dropout)


class Troubled(Method):
    """A linear head that can be told to fail.

    Args:
        trouble: `raise`, `nan`, `kill` (its own process), `memory` or `slow`.
        when: at which forward pass in training.
        flag: trouble comes only while this file does not exist, and makes it.
    """

    def __init__(
        self,
        backbone: Backbone,
        tasks: Tasks,
        *,
        trouble: str = "",
        when: int = 3,
        flag: str = "",
        width: int = 8,
    ) -> None:
        super().__init__(backbone, tasks)
        self.heads = nn.ModuleDict({name: nn.Conv2d(8, task.channels, 1) for name, task in tasks.items()})
        self.trouble, self.when, self.flag = trouble, when, flag
        self.passes = 0

    def decode(self, features: list[Tensor], size: tuple[int, int]) -> Outputs:
        x = features[0]
        if self.training:
            self.passes += 1
            if self.trouble == "slow":
                time.sleep(0.05)
            elif self.passes == self.when and not (self.flag and Path(self.flag).exists()):
                x = self._fail(x)
        return Outputs(
            {t: nn.functional.interpolate(h(x), size, mode="bilinear") for t, h in self.heads.items()}
        )

    def _fail(self, x: Tensor) -> Tensor:
        if self.flag:
            Path(self.flag).touch()
        if self.trouble == "raise":
            raise ValueError("told to fail")
        if self.trouble == "memory":
            raise MemoryError("told to need too much")
        if self.trouble == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        return x * float("nan") if self.trouble == "nan" else x


plugins = {
    "dataset": {"tiny": Tiny},
    "backbone": {"tiny": tiny_backbone},
    "method": {"troubled": Troubled},
}
