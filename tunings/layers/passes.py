"""The backbone run once for each task, with weights of the task's own in some places.

So no pass of the encoder serves two tasks: T tasks take T passes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call

from mtlbench.model import Method

from .own_maps import OwnMaps, check_shared

WHY_NOT_MERGED = "each task has weights of its own"


class TaskPasses(OwnMaps):
    """A pass of a backbone for each task; a subclass says with which weights (`weights`)."""

    def weights(self, task: str) -> dict[str, Tensor]:
        """Entries of the trunk that are another tensor in this task's pass."""
        raise NotImplementedError

    def forward(self, images: Tensor) -> dict[str, list[Tensor]]:  # type: ignore[override]
        """Normalised images (B, 3, H, W) -> for each task four maps (B, C_i, h_i, w_i)."""
        return {task: functional_call(self.trunk, self.weights(task), (images,)) for task in self.tasks}


class OwnWeights(TaskPasses):
    """All that trains in the trunk is there once for each task, from the same initial values.

    In the trunk empty tensors stand in its place.
    """

    def __init__(self, trunk: nn.Module, tasks: Sequence[str]) -> None:
        super().__init__(trunk, tasks)
        trained = {name: p for name, p in trunk.named_parameters() if p.requires_grad}
        self.own = nn.ModuleDict({task: _copies(trained) for task in tasks})
        for name, p in trained.items():
            _leave_empty(trunk, name, p)

    def weights(self, task: str) -> dict[str, Tensor]:
        return {name.replace("/", "."): p for name, p in self.own[task].items()}  # type: ignore[operator]


def one_for_each_task(network: Method) -> None:
    """Give each task what trains in the backbone, and a pass of its own.

    Raises:
        MtlbenchError: tasks can't have maps of their own (`check_shared`).
    """
    check_shared(network)
    network.backbone = OwnWeights(network.backbone, tuple(network.tasks))


def _copies(parameters: Mapping[str, nn.Parameter]) -> nn.ParameterDict:
    """Names of parameters can't hold dots."""
    return nn.ParameterDict({n.replace(".", "/"): p.detach().clone() for n, p in parameters.items()})


def _leave_empty(module: nn.Module, name: str, like: Tensor) -> None:
    path, _, last = name.rpartition(".")
    empty = torch.empty(0, dtype=like.dtype, device=like.device)
    module.get_submodule(path).register_parameter(last, nn.Parameter(empty, requires_grad=False))
