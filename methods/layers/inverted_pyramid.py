"""A transformer decoder whose stages become finer, and the sum of its scales for each task."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .batch_norm import BatchNorm2d
from .features import Size, SummedFeatureConv2d
from .up_transformer import UpStage


class InvertedPyramid(nn.Module):
    """Stages that each double the size of all tasks' maps and halve their width.

        X^s, A^s = stage_s(X^(s-1), skip_s, A^(s-1))
        Z_t      = sum_s up(reduce_s,t(LN_s([X^s_1; ...; X^s_T])_t))      reduce_0,t: nothing

    LayerNorm runs over the channels of all tasks; the next stage gets the maps without it.

    Args:
        tasks: their names, in order.
        dims: width of each stage, a multiple of `heads`.
        heads: of the attention.
        mlp_ratio: width of the stages' MLPs, in multiples of their width.
        quirks: of InvPT; those that name unused layers of the first stage and the end have an effect here.
    """

    def __init__(
        self, tasks: Sequence[str], dims: Sequence[int], *, heads: int, mlp_ratio: int, quirks: frozenset[str]
    ) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            UpStage(
                tasks,
                dims[i - 1] if i else None,
                dim,
                heads=heads,
                window=2 ** (i + 1),
                mlp_ratio=mlp_ratio,
                fuses=i > 0 or "unused_fusion" in quirks,
            )
            for i, dim in enumerate(dims)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(len(tasks) * dim) for dim in dims)
        self.reduce = nn.ModuleDict()
        for i in range(0 if "unused_reduction" in quirks else 1, len(dims)):
            self.reduce[str(i)] = nn.ModuleDict({task: nn.Linear(dims[i], dims[0]) for task in tasks})
        if "unused_norm" in quirks:
            self.unused_norm = nn.LayerNorm(len(tasks) * dims[-1])

    def forward(
        self, maps: dict[str, Tensor], skips: Sequence[Tensor | None]
    ) -> tuple[dict[str, list[Tensor]], Size]:
        """Each task's map through all stages.

        Args:
            maps: (B, C_0, h, w) of each task.
            skips: what each stage adds to all tasks' maps, (B, C_s, any, any).

        Returns:
            Of each task one map (B, C_0, 2^s h, 2^s w) of every stage s, and the size (2^S h, 2^S w), with S
            the number of stages, to which they are to be resized, and added.
        """
        x, message, scales = torch.stack([m.movedim(1, -1) for m in maps.values()]), None, []
        finest = (x.shape[2] << len(self.stages), x.shape[3] << len(self.stages))
        for stage, norm, skip in zip(self.stages, self.norms, skips, strict=True):
            x, message = stage(x, skip, message)  # (T, B, 2^s h, 2^s w, C_s)
            scales.append(norm_together(norm, x))
        return {task: self._reduced(task, [z[t] for z in scales]) for t, task in enumerate(maps)}, finest

    def _reduced(self, task: str, scales: list[Tensor]) -> list[Tensor]:
        """One task's maps (B, 2^s h, 2^s w, C_s) -> (B, C_0, 2^s h, 2^s w)."""
        layers = [nn.Identity(), *(self.reduce.get_submodule(f"{i}.{task}") for i in range(1, len(scales)))]
        return [layer(x).movedim(-1, 1) for layer, x in zip(layers, scales, strict=True)]


class SumBlock(nn.Sequential):
    """3x3 convolution of the sum of maps at one size, batch norm, ReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__(
            SummedFeatureConv2d(channels, channels, 3, padding=1),
            BatchNorm2d(channels),
            nn.ReLU(inplace=True),
        )

    def forward(self, maps: Sequence[Tensor], size: Size) -> Tensor:  # type: ignore[override]
        """Maps (B, C, h_s, w_s) -> (B, C, *size)."""
        conv, norm, activation = self
        projected: Tensor = activation(norm(conv(maps, size)))
        return projected


def norm_together(norm: nn.Module, x: Tensor) -> Tensor:
    """(T, B, h, w, C) -> the same, normed over the channels of all tasks."""
    together: Tensor = norm(x.movedim(0, 3).flatten(3))  # (B, h, w, T C)
    return together.unflatten(3, (len(x), -1)).movedim(3, 0)
