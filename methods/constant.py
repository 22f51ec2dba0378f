"""The constant prediction: what any network must beat.

For each task the one vector of logits, the same at every pixel, that suits the task's metric best on the
training labels (class frequencies, mean depth, mean normal ...). Nothing is trained, no image looked at.
"""

from collections.abc import Iterable
from typing import ClassVar, cast

import torch
from torch import Tensor

from mtlbench.backbones.base import Backbone
from mtlbench.model import Method, Outputs
from mtlbench.tasks import Tasks

MAX_PIXELS = 2**26
"""Labels of a task beyond so many pixels are left out: they need gigabytes and change no digit shown."""


class Constant(Method):
    """Constant prediction: one best guess for every pixel of every image, fitted to the training labels."""

    needs_backbone: ClassVar[bool] = False

    def __init__(self, backbone: Backbone | None, tasks: Tasks) -> None:
        super().__init__(cast(Backbone, None), tasks)
        for name, task in tasks.items():
            self.register_buffer(f"logits_{name}", torch.zeros(task.channels))

    def forward(self, images: Tensor) -> Outputs:
        """Images (B, 3, H, W), of which only the size counts -> predictions (B, K_t, H, W)."""
        batch, _, height, width = images.shape
        return Outputs({name: self._logits(name).expand(batch, -1, height, width) for name in self.tasks})

    def fit_constants(self, labels: Iterable[dict[str, Tensor]]) -> None:
        """Set each task's logits from training labels (a batch may lack some tasks)."""
        collected: dict[str, list[Tensor]] = {name: [] for name in self.tasks}
        pixels = dict.fromkeys(self.tasks, 0)
        for batch in labels:
            for name in self.tasks.keys() & batch.keys():
                if pixels[name] < MAX_PIXELS:
                    collected[name].append(_as_one_row(batch[name]))
                    pixels[name] += collected[name][-1].shape[-1]
        for name, rows in collected.items():
            if rows:
                constant = self.tasks[name].constant(torch.cat(rows, dim=-1))
                getattr(self, f"logits_{name}").copy_(constant)

    def _logits(self, name: str) -> Tensor:
        return getattr(self, f"logits_{name}")[None, :, None, None]  # (1, K, 1, 1)


def _as_one_row(labels: Tensor) -> Tensor:
    """(B, H, W) -> (1, 1, BHW), (B, C, H, W) -> (1, C, 1, BHW): images of different sizes can be joined."""
    labels = labels.as_subclass(Tensor)
    if labels.ndim == 3:
        return labels.reshape(1, 1, -1)
    return labels.transpose(0, 1).reshape(1, labels.shape[1], 1, -1)
