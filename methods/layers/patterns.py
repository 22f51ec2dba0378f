"""Local patterns: how much each position resembles those in the window around it.

A pattern a(i, .) has a weight for each of the p x p positions of the window, with sum 1; those outside the
map have weight 0. Windows are read one offset at a time, so that no position has a copy of its window.
"""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor
from torch.nn import functional as F


def patterns(q: Tensor, window: int) -> Tensor:
    """Softmax over j of <q(i), q(j)> / sqrt(C): (B, C, H, W) -> (B, p^2, H, W), the window row by row."""
    scores = torch.stack([(q * near).sum(1) for near in _shifted(q, window)], dim=1) * q.shape[1] ** -0.5
    inside = torch.cat(list(_shifted(q.new_ones(1, 1, *q.shape[2:]), window)), dim=1) > 0
    return scores.masked_fill(~inside, float("-inf")).softmax(1)


def gather(pattern: Tensor, x: Tensor, window: int) -> Tensor:
    """Sum over j of a(i, j) x(j): (B, p^2, H, W) and (B, C, H, W) -> (B, C, H, W)."""
    total = torch.zeros_like(x)
    for weight, near in zip(pattern.split(1, dim=1), _shifted(x, window), strict=True):
        total = total + weight * near
    return total


def transferred(target: str, found: Mapping[str, Tensor]) -> Tensor:
    """The other tasks' patterns, each weighted by its cosine with the target's at the same position, sum 1.

    Args:
        target: a task.
        found: task -> (B, p^2, H, W), of two tasks or more.
    """
    own = found[target]
    weighted = [F.cosine_similarity(own, a, dim=1).unsqueeze(1) * a for t, a in found.items() if t != target]
    total = torch.stack(weighted).sum(0)
    return total / total.sum(1, keepdim=True).clamp(min=torch.finfo(total.dtype).tiny)


def _shifted(x: Tensor, window: int) -> Iterator[Tensor]:
    """(B, C, H, W) -> p^2 views of the same size, each what stands at one offset; zeros outside the map."""
    height, width = x.shape[-2:]
    padded = F.pad(x, [window // 2] * 4)
    for row in range(window):
        for column in range(window):
            yield padded[..., row : row + height, column : column + width]
