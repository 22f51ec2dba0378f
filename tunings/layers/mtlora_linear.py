"""MTLoRA's layer (Agiza et al., "MTLoRA: A Low-Rank Adaptation Approach for Efficient Multi-Task Learning",
CVPR 2024), with P = W x + b of the shared stream and frozen weights, and D dropout:

    out       = P + s B A D(x)                          shared
    out_t     = P + s_t B_t A_t u_t                     `matrix`; u_t: the task's stream, or D(x) without one
    out_t     = P + s B A D(x) + s_t B_t A_t u_t        `matrixv2`
    out       = P + LayerNorm(sum_t out_t)              `addition`, without A and B; out_t as in `matrix`
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .streams import Flow, StreamLinear

Mode = Literal["matrix", "matrixv2", "addition"]


class MTLoRALinear(StreamLinear):
    """A linear layer with low-rank updates: one for all, one for each task.

    Args:
        linear: the layer.
        r: rank of the shared update.
        task_r: rank of each task's.
        scale: of the shared update; multiplies as it is, not divided by the rank.
        task_scale: of each task's.
        mode: see the module; a layer without tasks is `matrix`.
        flow, dropout: as in `StreamLinear`.
    """

    def __init__(
        self,
        linear: nn.Linear,
        *,
        r: int,
        task_r: Mapping[str, int],
        scale: float,
        task_scale: Mapping[str, float],
        mode: Mode = "matrix",
        flow: Flow,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(linear, task_r, flow=flow, dropout=dropout)
        self.mode: Mode = mode if task_r else "matrix"
        self.scale, self.task_scale = scale, dict(task_scale)
        if self.mode == "addition":
            self.lora_norm = nn.LayerNorm(linear.out_features, device=linear.weight.device)
        else:
            self.lora_shared_A, self.lora_shared_B = _factors(linear, r)
        pairs = {task: _factors(linear, rank) for task, rank in task_r.items()}
        self.lora_tasks_A = nn.ParameterDict({task: a for task, (a, _) in pairs.items()})
        self.lora_tasks_B = nn.ParameterDict({task: b for task, (_, b) in pairs.items()})

    def outputs(self, x: Tensor, own: Tensor | None, *, tasks: bool) -> Tensor:
        plain, dropped = self.linear(x), self.lora_dropout(x)
        if self.mode == "addition":
            each = self._tasks(plain, dropped, own)
            return torch.stack([plain + self.lora_norm(torch.stack(each).sum(0)), *each])
        shared = _updated(plain, dropped, self.lora_shared_A, self.lora_shared_B, self.scale)
        if not tasks:
            return shared[None]
        return torch.stack([shared, *self._tasks(shared if self.mode == "matrixv2" else plain, dropped, own)])

    def _tasks(self, around: Tensor, dropped: Tensor, own: Tensor | None) -> list[Tensor]:
        """Each task's update, added to what it stands around."""
        return [
            _updated(
                around,
                dropped if own is None else own[i],
                self.lora_tasks_A[task],
                self.lora_tasks_B[task],
                self.task_scale[task],
            )
            for i, task in enumerate(self.tasks)
        ]

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """The layer with the shared update in its weights, of one that has no tasks."""
        self.linear.weight += self.scale * self.lora_shared_B @ self.lora_shared_A
        return self.linear


def _factors(linear: nn.Linear, rank: int) -> tuple[nn.Parameter, nn.Parameter]:
    """A (r, C), drawn uniformly, and B (D, r), zero."""
    device = linear.weight.device
    down = nn.Parameter(torch.empty(rank, linear.in_features, device=device))
    nn.init.kaiming_uniform_(down, a=math.sqrt(5))
    return down, nn.Parameter(torch.zeros(linear.out_features, rank, device=device))


def _updated(around: Tensor, x: Tensor, down: Tensor, up: Tensor, scale: float) -> Tensor:
    """Something (..., D) and the low-rank update s B A x."""
    low = F.linear(x, down).flatten(0, -2)
    return torch.addmm(around.flatten(0, -2), low, up.mT, alpha=scale).view_as(around)
