"""Attention of every position to the 9x9 window around it, without a copy of the window for each position.

Positions are taken in tiles of 8x8, which share the 16x16 positions that any of their windows reaches: four
times the keys instead of 81 times, and one batch of matrix products with a mask.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

RADIUS = 4
"""Of the window: 9x9."""

TILE = 8
REACH = TILE + 2 * RADIUS
ALIGNED = 8
"""Fused attention kernels want channels in multiples of it."""


def window_attention(q: Tensor, k: Tensor, v: Tensor, *, see_outside: bool) -> Tensor:
    """Each position's mean of v over its window, weighted by softmax(<q, k> / sqrt(C)).

    Args:
        q: (B, C, H, W).
        k: (B, C, H, W).
        v: (B, C, H, W).
        see_outside: positions outside the map take part, with k = 0 and v = 0.

    Returns:
        (B, C, H, W).
    """
    channels, height, width = q.shape[1:]
    rows, columns = -(-height // TILE), -(-width // TILE)
    bottom, right = rows * TILE - height, columns * TILE - width

    def tiles(x: Tensor, radius: int) -> Tensor:
        """(B, C, H, W) -> (B, tiles, (TILE + 2 radius)^2, C), zero outside the map."""
        x = F.pad(x, (radius, radius + right, radius, radius + bottom, 0, -channels % ALIGNED))
        x = x.unfold(2, TILE + 2 * radius, TILE).unfold(3, TILE + 2 * radius, TILE)
        return x.permute(0, 2, 3, 4, 5, 1).flatten(3, 4).flatten(1, 2)

    seen = _in_window(q.device)  # (TILE^2, REACH^2)
    if not see_outside:
        inside = q.new_ones(1, 1, height, width)
        keys, queries = (tiles(inside, r)[..., 0] > 0 for r in (RADIUS, 0))  # (1, tiles, positions)
        # what lies outside may see everything: it is cut off, but must not be a softmax of nothing
        seen = seen & (keys.unsqueeze(2) | ~queries.unsqueeze(3))
    attended = F.scaled_dot_product_attention(
        tiles(q, 0), tiles(k, RADIUS), tiles(v, RADIUS), attn_mask=seen, scale=channels**-0.5
    )  # (B, tiles, TILE^2, C)
    attended = attended[..., :channels].unflatten(2, (TILE, TILE)).unflatten(1, (rows, columns))
    return attended.permute(0, 5, 1, 3, 2, 4).flatten(4, 5).flatten(2, 3)[..., :height, :width]


def _in_window(device: torch.device) -> Tensor:
    """Whether a position of a tile has a position that the tile reaches in its window, both row by row."""
    tile = torch.arange(TILE, device=device).view(-1, 1)
    near = (torch.arange(REACH, device=device) - RADIUS - tile).abs() <= RADIUS  # (TILE, REACH)
    return (near[:, None, :, None] & near[None, :, None, :]).reshape(TILE**2, REACH**2)
