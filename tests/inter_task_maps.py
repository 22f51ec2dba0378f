"""Maps of several tasks for tests of what joins them."""

from collections.abc import Iterable

import torch
from torch import Tensor


def random_maps(tasks: Iterable[str], size: tuple[int, int], dim: int, *, seed: int = 0) -> dict[str, Tensor]:
    """Task -> (1, *size, dim)."""
    generator = torch.Generator().manual_seed(seed)
    return {t: torch.randn(1, *size, dim, generator=generator) for t in tasks}
