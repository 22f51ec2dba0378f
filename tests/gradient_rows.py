"""Task gradients for balancers, and what balancers make of them."""

from typing import Any

import torch
from golden_balancers import make_step, tasks
from torch import Tensor

from mtlbench.balancing import Weighting
from mtlbench.solving import solve


def random_rows(count: int, seed: int = 0) -> Tensor:
    """(T, P) float64 with different lengths."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(count, 3 * count + 2, generator=generator, dtype=torch.float64)
    return rows * torch.logspace(-1, 1, count, dtype=torch.float64)[:, None]


def losses(count: int) -> Tensor:
    return torch.linspace(0.5, 2, count, dtype=torch.float64)


def ask(balancer: Weighting, rows: Tensor) -> Tensor:
    return solve(balancer, rows @ rows.T, make_step(losses(len(rows))))


def update(balancer: type[Weighting], rows: Tensor, **options: Any) -> Tensor:
    """Combined gradient (P,)."""
    return ask(balancer(tasks(len(rows)), **options), rows) @ rows


def unit(vectors: Tensor) -> Tensor:
    return vectors / vectors.norm(dim=-1, keepdim=True)


def close(found: Tensor, expected: Tensor, tolerance: float = 1e-9) -> bool:
    return bool((found - expected).abs().max() <= tolerance * expected.abs().max())
