"""Draws from torch's global generator, the only source of randomness of the transforms."""

import torch


def uniform(low: float, high: float) -> float:
    """Uniform in [low, high)."""
    return low + (high - low) * torch.rand(()).item()


def integer(low: int, high: int) -> int:
    """Uniform in low..high, both included."""
    return int(torch.randint(low, high + 1, ()).item())


def coin() -> bool:
    """True in half of the cases."""
    return torch.rand(()).item() < 0.5
