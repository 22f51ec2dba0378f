"""Mixed precision outside of Fabric, whose own refuses `torch.autograd.grad`: per-task gradients need it."""

import torch

from mtlbench.spec import Recipe


def autocast(recipe: Recipe, device: torch.device) -> torch.autocast:
    """A context for forward passes as the recipe says; losses are computed outside of it, in float32."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=recipe.precision == "bf16")
