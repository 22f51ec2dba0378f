"""Attention among the tokens of all tasks, where the coarser scale says which places take part."""

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import functional as F

from .message_attention import MessageAttention, per_map

SPLIT = 4
"""Fine tokens in a coarse cell."""


class SelectiveAttention(MessageAttention):
    """Every task's tokens attend to fine tokens of the cells that mattered at the coarser scale.

    Cells are the windows over which `MessageAttention` averages. A cell matters as much as the coarser
    scale's queries attended to it, all heads and all queries of an image together:

        s = mean(softmax(message))               for each cell
        k, v: of the four quarters of the cells with the largest s
        A = q k^T / sqrt(C),  x = up(proj(softmax(A) v))

    The message to the next scale is the mean of A over a cell's quarters; cells without any get the least
    that a query has. It decides what is chosen and has no gradient.

    Args:
        tasks: their names, in order.
        dim: width C of the tokens.
        heads: of the attention.
        window: side of the cells.
        keep: the share of cells that take part.
        per_task: whether it is the same for each task, not for all tasks together.
    """

    def __init__(
        self, tasks: Iterable[str], dim: int, heads: int, *, window: int, keep: float, per_task: bool
    ) -> None:
        super().__init__(tasks, dim, heads, window=window, fuses=False)
        self.keep, self.per_task = keep, per_task

    def forward(self, x: Tensor, message: Tensor | None) -> tuple[Tensor, Tensor]:
        """Tokens of all tasks attend to the chosen ones of all tasks.

        Args:
            x: maps of all tasks, channels last, (T, B, h, w, C).
            message: (B, heads, T, h', w', K) of the coarser scale, K cells.

        Returns:
            (T, B, h, w, C), and the message to the finer scale, (B, heads, T, h/2, w/2, K).
        """
        assert message is not None, "the first scale has nothing to choose by"
        q, grid = self._ask(x)
        chosen = self._choose(message, len(x))  # (B, k)
        cells = self._cells(x)  # (B, K, 4, C)
        at = chosen[..., None, None].expand(-1, -1, *cells.shape[2:])
        tokens = cells.gather(1, at).flatten(1, 2)[None, :, None]  # (1, B, 1, 4 k, C)
        k, v = self._split(self.proj_k(tokens)), self._split(self.proj_v(tokens))  # (B, heads, 4 k, d)
        logits = q @ k.transpose(-1, -2)  # (B, heads, T h/2 w/2, 4 k)
        found = _to_cells(logits.detach(), chosen, cells.shape[1])
        return self._read(logits, v, grid, (x.shape[2], x.shape[3])), found.unflatten(2, grid)

    def _choose(self, message: Tensor, tasks: int) -> Tensor:
        """(B, heads, T, h', w', K) -> the cells that take part, (B, k), in order."""
        scores = message.detach().softmax(-1).mean((1, 2, 3, 4))  # (B, K)
        groups = scores.unflatten(1, (tasks if self.per_task else 1, -1))  # (B, groups, K / groups)
        count = max(1, round(self.keep * groups.shape[-1]))
        first = torch.arange(groups.shape[1], device=scores.device)[:, None] * groups.shape[-1]
        return (groups.topk(count, dim=-1).indices + first).flatten(1).sort(-1).values

    def _cells(self, x: Tensor) -> Tensor:
        """Maps (T, B, h, w, C) -> means over quarters of the cells, (B, K, 4, C).

        Where the last cell has no second half its first one counts twice.
        """
        fine = per_map(self._quarter, x)  # (T, B, 2 h_k, 2 w_k, C)
        fine = fine.unflatten(3, (-1, 2)).unflatten(2, (-1, 2))  # (T, B, h_k, 2, w_k, 2, C)
        return fine.permute(1, 0, 2, 4, 3, 5, 6).flatten(4, 5).flatten(1, 3)

    def _quarter(self, x: Tensor) -> Tensor:
        x = F.avg_pool2d(x, self.window // 2, ceil_mode=True)
        return F.pad(x, (0, x.shape[-1] % 2, 0, x.shape[-2] % 2), mode="replicate")


def _to_cells(logits: Tensor, chosen: Tensor, count: int) -> Tensor:
    """Logits (B, heads, Q, 4 k) of the quarters of chosen cells (B, k) -> of all, (B, heads, Q, count)."""
    cells = logits.unflatten(-1, (-1, SPLIT)).mean(-1)  # (B, heads, Q, k)
    every = cells.amin(-1, keepdim=True).repeat(1, 1, 1, count)
    return every.scatter(-1, chosen[:, None, None].expand_as(cells), cells)
