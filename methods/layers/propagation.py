"""Feature propagation: what all tasks found at one scale, for each task at the next finer one."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from .residual import basic_block

REDUCTION = 16
"""Squeeze and excitation: channels per hidden unit."""


class FeaturePropagation(nn.Module):
    """Feature propagation module (FPM) of MTI-Net.

        z = [f_1; ...; f_N]                          all tasks' features
        r = reduce(z softmax(mask(z)))               shared by the tasks
        q_a = r sigma(W_2 ReLU(W_1 mean(r))) + f_a   squeeze and excitation, for each task

    With one task the mask is 1 everywhere, and left out.

    Args:
        tasks: in the order of the concatenation.
        channels: C of each task's features.
        mask_of_neighbours: the softmax runs over N consecutive channels of the concatenation; False: over the
            N tasks' channels of the same number.
    """

    def __init__(self, tasks: Sequence[str], channels: int, *, mask_of_neighbours: bool) -> None:
        super().__init__()
        width, hidden = len(tasks) * channels, max(len(tasks) * channels // 4, 1)
        self.groups = (-1, len(tasks)) if mask_of_neighbours else (len(tasks), -1)
        self.axis = 2 if mask_of_neighbours else 1
        self.mask = (
            nn.Sequential(
                basic_block(width, hidden), basic_block(hidden, hidden), nn.Conv2d(hidden, width, 1)
            )
            if len(tasks) > 1
            else None
        )
        self.reduce = basic_block(width, channels)
        self.excite = nn.ModuleDict({t: SqueezeExcite(channels) for t in tasks})

    def forward(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Task -> (B, C, H, W), tasks in order, to the same."""
        z = torch.cat(list(features.values()), dim=1)  # (B, N C, H, W)
        r = self.reduce(z if self.mask is None else z * self._normalise(self.mask(z)))  # (B, C, H, W)
        return {t: self.excite[t](r) + f for t, f in features.items()}

    def _normalise(self, scores: Tensor) -> Tensor:
        """(B, N C, H, W) -> the same, softmax in groups of N channels."""
        return scores.unflatten(1, self.groups).softmax(self.axis).flatten(1, 2)


class SqueezeExcite(nn.Module):
    """Weighs the channels by what they are on average."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(channels // REDUCTION, 1)
        self.squeeze = nn.Sequential(nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, channels))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        weights: Tensor = self.squeeze(x.mean(dim=(2, 3))).sigmoid()  # (B, C)
        return x * weights[:, :, None, None]
