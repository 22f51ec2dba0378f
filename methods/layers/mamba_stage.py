"""One scale of the decoders of MTMamba and MTMamba++."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mtlbench.resizing import resize

from .mamba_blocks import CTM, STM, MakeSS2D, Maps, PatchExpand, SharedCTM


class Stage(nn.Module):
    """One scale: all tasks' maps are made finer, meet the backbone's, are scanned, and exchanged.

    Args:
        tasks: their names, in order.
        dim_in: channels of the coarser maps.
        dim: channels of the backbone's map, and of those that come out.
        make: an SS2D of given widths.
        drop_path: of the three blocks, in order.
        mlp_ratio: width of the MLPs within a task, in multiples of `dim`; 0: none.
        across: the block across tasks.
    """

    def __init__(
        self,
        tasks: Sequence[str],
        dim_in: int,
        dim: int,
        make: MakeSS2D,
        drop_path: Sequence[float],
        mlp_ratio: int,
        across: type[CTM] | type[SharedCTM],
    ) -> None:
        super().__init__()
        self.expand = nn.ModuleDict({t: PatchExpand(dim_in, dim, 2) for t in tasks})
        self.reduce = nn.ModuleDict({t: nn.Linear(2 * dim, dim) for t in tasks})
        self.within = nn.ModuleDict(
            {t: nn.Sequential(*(STM(dim, make, rate, mlp_ratio) for rate in drop_path[:-1])) for t in tasks}
        )
        self.across = across(tasks, dim, make, drop_path[-1])

    def forward(self, x: Maps, skip: Tensor) -> dict[str, Tensor]:
        """Task -> (B, h, w, C_in), the backbone's map (B, H, W, C) -> task -> (B, H, W, C)."""
        found = {t: self.within[t](self._meet(t, y, skip)) for t, y in x.items()}
        exchanged: dict[str, Tensor] = self.across(found)
        return exchanged

    def _meet(self, task: str, x: Tensor, skip: Tensor) -> Tensor:
        fine = resize(self.expand[task](x).movedim(-1, 1), skip.shape[1:3]).movedim(1, -1)
        met: Tensor = self.reduce[task](torch.cat([fine, skip], dim=-1))
        return met
