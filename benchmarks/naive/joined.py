"""Cross-stitch networks and NDDR-CNN, as released: complete networks that take turns."""

from typing import Any, ClassVar

import torch
from torch import Tensor

from mtlbench.backbones.staged import Maps, side_by_side
from mtlbench.model import Outputs
from naive.shared import NaiveForm, concatenated, convolved


class NaiveJoinedNetworks(NaiveForm):
    """What both have alike; heads are those of the multi-task baseline."""

    parts: ClassVar = ("whole",)

    def forward(self, images: Tensor) -> Outputs:
        """Normalised images (B, 3, H, W) -> predictions at (H, W)."""
        height, width = images.shape[-2:]
        copies = self.network.backbone.copies
        running = {t: copy.staged(images) for t, copy in copies.items()}
        features = side_by_side(running, self.exchanged)
        return Outputs(
            {t: self.predict(t, concatenated(maps), (height, width)) for t, maps in features.items()}
        )

    def exchanged(self, pause: int, maps: dict[str, Maps]) -> dict[str, Maps]:
        """Branch after branch, task after task."""
        name = f"stage{pause}" if pause else "stem"
        if name not in self.network.units:
            return maps
        branches = [
            self.mixed(unit, {t: found[i] for t, found in maps.items()})
            for i, unit in enumerate(self.network.units[name])
        ]
        return {t: [branch[t] for branch in branches] for t in maps}

    def mixed(self, unit: Any, maps: dict[str, Tensor]) -> dict[str, Tensor]:
        """Task -> (B, C, h, w) to the same."""
        raise NotImplementedError


class NaiveCrossStitch(NaiveJoinedNetworks):
    """Products of every pair of tasks, which are then added."""

    def mixed(self, unit: Any, maps: dict[str, Tensor]) -> dict[str, Tensor]:
        """Task -> (B, C, h, w) to the same."""
        zero = torch.zeros(())
        return {i: sum((unit[i][j].view(1, -1, 1, 1) * x for j, x in maps.items()), zero) for i in maps}


class NaiveNDDRCNN(NaiveJoinedNetworks):
    """Every task's convolution reads the concatenation of all tasks' maps."""

    def mixed(self, unit: Any, maps: dict[str, Tensor]) -> dict[str, Tensor]:
        """Task -> (B, C, h, w) to the same."""
        x = torch.cat(list(maps.values()), dim=1)
        found = {}
        for t in maps:
            convolution, norm, relu = unit[t]
            found[t] = relu(norm(convolved(convolution, x)))
        return found
