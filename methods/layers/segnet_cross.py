"""A SegNet for each task, all of which mix their maps between the stages: cross-stitch units.

    x_t = sum over s of a_ts x_s       before every stage but the first of the encoder; a: learned scalars

The places of the maxima stay each task's own. After Misra et al., "Cross-Stitch Networks for Multi-Task
Learning", CVPR 2016, where every target has its weights; released code has one mixture for all.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from .segnet import convolutions, decoder_widths, encoder_widths, pool, stages_of, unpool

OWN = 0.9
"""What a task starts to take of its own map; the others share the rest."""


class Cross(nn.Module):
    """SegNets that mix their maps.

    Args:
        tasks: their names.
        widths: of the stages.
        one_mix: the same mixture goes to all tasks.
    """

    def __init__(self, tasks: Sequence[str], widths: Sequence[int], *, one_mix: bool) -> None:
        super().__init__()
        encoder, decoder = list(encoder_widths(widths)), list(decoder_widths(widths))
        self.encoders = nn.ModuleDict(
            {t: nn.ModuleList(convolutions(a, *[b] * (n + 1)) for a, b, n in encoder) for t in tasks}
        )
        self.decoders = nn.ModuleDict(
            {t: nn.ModuleList(convolutions(a, *[b] * (n + 1)) for a, b, n in decoder) for t in tasks}
        )
        mix = OneMix if one_mix else Mixes
        self.encoder_mix, self.decoder_mix = mix(tasks, len(encoder) - 1), mix(tasks, len(decoder))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Images (B, 3, H, W) -> task -> (B, C_0, H, W)."""
        maps = dict.fromkeys(self.encoders, x)
        indices: list[dict[str, Tensor]] = []
        for k in range(self.decoder_mix.stages):
            mixed = self.encoder_mix(maps, k - 1) if k else maps
            pooled = {t: pool(stages_of(self.encoders, t)[k](y)) for t, y in mixed.items()}
            maps = {t: y for t, (y, _) in pooled.items()}
            indices.append({t: places for t, (_, places) in pooled.items()})
        for step in range(self.decoder_mix.stages):
            raised = {t: unpool(y, indices[-1 - step][t]) for t, y in self.decoder_mix(maps, step).items()}
            maps = {t: stages_of(self.decoders, t)[-1 - step](y) for t, y in raised.items()}
        return maps


class OneMix(nn.Module):
    """The sum of all maps, each times a number, for every task.

    Args:
        tasks: their names.
        stages: how often maps are mixed.
    """

    def __init__(self, tasks: Sequence[str], stages: int) -> None:
        super().__init__()
        self.stages = stages
        self.weight = nn.Parameter(torch.ones(stages, len(tasks)))

    def forward(self, maps: Mapping[str, Tensor], stage: int) -> dict[str, Tensor]:
        """Task -> (B, C, H, W) to the same."""
        return dict.fromkeys(maps, _sum(maps, self.weight[stage]))


class Mixes(nn.Module):
    """A weighted sum of all maps for each task. Arguments as `OneMix`."""

    def __init__(self, tasks: Sequence[str], stages: int) -> None:
        super().__init__()
        self.stages = stages
        self.weight = nn.ParameterDict({t: _start(i, len(tasks), stages) for i, t in enumerate(tasks)})

    def forward(self, maps: Mapping[str, Tensor], stage: int) -> dict[str, Tensor]:
        """Task -> (B, C, H, W) to the same."""
        return {t: _sum(maps, self.weight[t][stage]) for t in maps}


def _start(own: int, tasks: int, stages: int) -> Tensor:
    """(stages, T): `OWN` for the task itself, and in sum 1."""
    if tasks == 1:
        return torch.ones(stages, 1)
    weight = torch.full((stages, tasks), (1 - OWN) / (tasks - 1))
    weight[:, own] = OWN
    return weight


def _sum(maps: Mapping[str, Tensor], weights: Tensor) -> Tensor:
    first, *others = (weight * x for weight, x in zip(weights, maps.values(), strict=True))
    return sum(others, start=first)
