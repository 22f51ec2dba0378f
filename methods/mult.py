"""MulT: a Swin decoder for each task; one task's attention serves all.

Paper: Bhattacharjee, Zhang, Süsstrunk and Salzmann, "MulT: An End-to-End Multitask Learning Transformer",
CVPR 2022. *Our reading*: code is public (IVRL/MulT), but for two tasks (semseg and depth) in four forms that
differ, and on other data; this is the form that its documentation names ("DEA4"), for any number of tasks.
From the coarsest scale to the finest, a stage of Swin blocks per scale, every second with shifted windows:

    q, k   = W_qk [LN_r(x_r); c]                    of the reference task r; c: the backbone's map, normed
    A      = softmax(q k^T / sqrt(d) + bias)        one for all tasks
    x_t    = x_t + W_t (A W_v,t [LN_t(x_t); c])     values, projection and MLP are each task's own
    x_t    = x_t + MLP_t(LN_t(x_t))
    x_t    <- W_t LN_t(up(x_t))                     to the next scale, as wide as the backbone's map there
    y_t    = up(logits_t(x_t))                      after the finest scale

All tasks start from the coarsest map. The paper's reference is the task of surface normals, the released
code's is depth.
"""

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from mtlbench.backbones.base import Backbone
from mtlbench.errors import MtlbenchError
from mtlbench.model import Method, Outputs
from mtlbench.registry import unknown
from mtlbench.resizing import resize
from mtlbench.tasks import Tasks

from .layers.checks import check_numbers
from .layers.windows import WindowBias, Windows, attend_each, initialise_linear, mlp, plain_and_shifted

REFERENCES = ("depth", "semseg")
"""The reference task where none is given: the first of these that is predicted, else the first task."""


class MulT(Method):
    """MulT (our reading): Swin decoders that share the attention of a reference task.

    Args:
        backbone: gives the features.
        tasks: what to predict.
        reference: the task whose attention all share; None: depth, else semseg, else the first.
        depth: blocks of each scale.
        head_width: channels of a head of the attention; narrower where that does not divide a map's width.
        window: side of the windows.
    """

    paper = "Bhattacharjee et al., CVPR 2022"
    code = "our reading of the paper; public code, IVRL/MulT, is for two tasks, in forms that differ"

    def __init__(
        self,
        backbone: Backbone,
        tasks: Tasks,
        *,
        reference: str | None = None,
        depth: int = 2,
        head_width: int = 32,
        window: int = 7,
    ) -> None:
        super().__init__(backbone, tasks)
        check_numbers("mult", depth=depth, head_width=head_width, window=window)
        self.reference = _reference(reference, tasks)
        self.window, self.depth = window, depth
        widths = backbone.channels[::-1]  # coarse to fine
        self.stages = nn.ModuleList(
            Stage(self.reference, tasks, width, _heads(width, head_width), depth=depth, window=window)
            for width in widths
        )
        self.ups = nn.ModuleList(
            nn.ModuleDict({t: Up(wide, narrow) for t in tasks}) for wide, narrow in pairwise(widths)
        )
        initialise_linear(self.stages)
        initialise_linear(self.ups)
        self.final_logits = nn.ModuleDict({t: nn.Conv2d(widths[-1], tasks[t].channels, 1) for t in tasks})

    @property
    def meanings(self) -> Mapping[str, str]:
        """The layers that only the reference task reads."""
        blocks = [(i, j) for i in range(len(self.stages)) for j in range(self.depth)]
        return {f"stages.{i}.blocks.{j}.to_qk.": self.reference for i, j in blocks}

    def decode(self, features: list[Tensor], size: tuple[int, int]) -> Outputs:
        """Features (B, C_i, h_i, w_i) -> predictions (B, K_t, *size)."""
        contexts = [x.movedim(1, -1) for x in features[::-1]]  # channels last, coarse to fine
        x = dict.fromkeys(self.tasks, contexts[0])
        for i, context in enumerate(contexts):
            if i > 0:
                ups = cast(nn.ModuleDict, self.ups[i - 1])
                x = {t: up(x[t], (context.shape[1], context.shape[2])) for t, up in ups.items()}
            x = self.stages[i](x, context, plain_and_shifted(context, self.window))
        maps = {t: y.movedim(-1, 1).contiguous() for t, y in x.items()}
        return Outputs({t: resize(self.final_logits[t](maps[t]), size) for t in self.tasks})


class Stage(nn.Module):
    """Blocks of one scale."""

    def __init__(
        self, reference: str, tasks: Iterable[str], dim: int, heads: int, *, depth: int, window: int
    ) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.blocks = nn.ModuleList(Block(reference, tasks, dim, heads, window) for _ in range(depth))

    def forward(
        self, x: dict[str, Tensor], context: Tensor, windows: tuple[Windows, Windows]
    ) -> dict[str, Tensor]:
        """Each task's (B, H, W, C) and the backbone's -> each task's."""
        context = self.norm(context)
        for i, block in enumerate(self.blocks):
            x = block(x, context, windows[i % 2])
        return x


class Block(nn.Module):
    """One attention map, of the reference task, over all tasks' values."""

    def __init__(self, reference: str, tasks: Iterable[str], dim: int, heads: int, window: int) -> None:
        super().__init__()
        names = tuple(tasks)
        self.reference, self.heads = reference, heads
        self.bias = WindowBias(heads, window)
        self.to_qk = nn.Linear(2 * dim, 2 * dim)
        self.norms1 = nn.ModuleDict({t: nn.LayerNorm(dim) for t in names})
        self.to_v = nn.ModuleDict({t: nn.Linear(2 * dim, dim) for t in names})
        self.proj = nn.ModuleDict({t: nn.Linear(dim, dim) for t in names})
        self.norms2 = nn.ModuleDict({t: nn.LayerNorm(dim) for t in names})
        self.mlps = nn.ModuleDict({t: mlp(dim, 4 * dim) for t in names})

    def forward(self, x: dict[str, Tensor], context: Tensor, windows: Windows) -> dict[str, Tensor]:
        """Each task's (B, H, W, C) and the backbone's -> each task's."""
        seen = {t: torch.cat([self.norms1[t](y), context], dim=-1) for t, y in x.items()}
        q, k = windows.cut_projected(self.to_qk, seen[self.reference]).chunk(2, dim=-1)
        values = [windows.cut_projected(cast(nn.Linear, self.to_v[t]), y) for t, y in seen.items()]
        answers = attend_each(q, k, values, self.bias(windows), heads=self.heads)
        found = {}
        for (t, y), answer in zip(x.items(), answers, strict=True):
            y = y + self.proj[t](windows.join(answer))
            found[t] = y + self.mlps[t](self.norms2[t](y))
        return found


class Up(nn.Module):
    """To the size and the width of the next scale."""

    def __init__(self, wide: int, narrow: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(wide)
        self.reduce = nn.Linear(wide, narrow, bias=False)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """(B, h, w, C) -> (B, *size, C')."""
        reduced: Tensor = self.reduce(self.norm(resize(x.movedim(-1, 1), size).movedim(1, -1)))
        return reduced


def _reference(given: str | None, tasks: Tasks) -> str:
    if given is None:
        return next((t for t in REFERENCES if t in tasks), next(iter(tasks)))
    if given not in tasks:
        raise MtlbenchError(f"`reference` of mult: {unknown('task', given, list(tasks))}")
    return given


def _heads(dim: int, width: int) -> int:
    """As many as fit, of at least `width` channels each where there are that many."""
    return next(n for n in range(max(dim // width, 1), 0, -1) if dim % n == 0)
