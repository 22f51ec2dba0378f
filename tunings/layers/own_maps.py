"""What stands in place of a backbone that all tasks share, where each gets feature maps of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from mtlbench.backbones.base import Backbone
from mtlbench.errors import MtlbenchError
from mtlbench.model import Method
from mtlbench.published import Rule, from_published


class OwnMaps(Backbone):
    """A backbone, tuned, with maps for each task; a subclass says how they are made.

    Args:
        trunk: the backbone.
        tasks: that get maps.
    """

    def __init__(self, trunk: Any, tasks: Sequence[str]) -> None:
        super().__init__()
        self.trunk = trunk
        self.tasks = tuple(tasks)
        self.channels = trunk.channels
        self.strides = trunk.strides  # type: ignore[misc]  # of this one
        self.mean, self.std = trunk.mean, trunk.std
        self.without_weights = trunk.without_weights  # type: ignore[misc]

    def forward(self, images: Tensor) -> dict[str, list[Tensor]]:  # type: ignore[override]
        """Normalised images (B, 3, H, W) -> for each task four maps (B, C_i, h_i, w_i)."""
        raise NotImplementedError

    def adapt(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Published names of the trunk's entries -> ours."""
        rules: tuple[Rule, ...] = self.trunk.published_keys
        return {f"trunk.{k}": v for k, v in self.trunk.adapt(from_published(state, rules)).items()}


def check_shared(network: Method) -> None:
    """Whether the method reads a backbone's maps and nothing else of it, the same maps for all tasks.

    Raises:
        MtlbenchError: each task has a backbone, or the method works inside the backbone's blocks.
    """
    name = type(network).__name__
    if not network.backbone.tasks and not network.inside_backbone:
        return
    found = "works inside its blocks" if network.inside_backbone else "has one for each task"
    raise MtlbenchError(
        f"it needs a backbone that all tasks share, and of which only maps are read; {name} {found}: "
        "take a tuning that changes weights (`per_task: false`, where there is that option)"
    )
