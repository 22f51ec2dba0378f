"""Positions as sines and cosines of growing wave lengths."""

import torch
from torch import Tensor

LONGEST = 10_000.0


def sine_positions(size: tuple[int, int], dim: int, device: torch.device) -> Tensor:
    """A vector for each pixel of a map, of any size: (H, W, dim), from -1 to 1.

    The first half of the channels is for rows, the second for columns, each sines and cosines by turns of
    the position between the map's edges, which goes from 0 to 2 pi (Carion et al., ECCV 2020).
    """
    rows, columns = (
        _along(n, half, device) for n, half in zip(size, (dim - dim // 2, dim // 2), strict=True)
    )
    height, width = size
    return torch.cat([rows[:, None].expand(-1, width, -1), columns.expand(height, -1, -1)], dim=-1)


def _along(size: int, dim: int, device: torch.device) -> Tensor:
    """(size, dim)."""
    place = (torch.arange(size, device=device) + 0.5) / size * 2 * torch.pi
    pair = torch.arange(dim, device=device) // 2
    angles = place[:, None] * LONGEST ** (-2 * pair / max(dim, 1)) * _first_wave(size)
    return torch.where(torch.arange(dim, device=device) % 2 == 0, angles.sin(), angles.cos())


def _first_wave(size: int) -> float:
    """So that neighbours differ clearly in the shortest waves."""
    return max(size / (2 * torch.pi), 1.0)
