"""Mixed precision outside of Fabric, whose own refuses `torch.autograd.grad`: per-task gradients need it."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from mtlbench.spec import Recipe

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def autocast(recipe: Recipe, device: torch.device) -> torch.autocast:
    """A context for forward passes as the recipe says; losses are computed outside of it, in float32."""
    dtype = DTYPES[recipe.precision]
    return torch.autocast(
        device.type,
        dtype=torch.bfloat16 if dtype == torch.float32 else dtype,
        enabled=dtype != torch.float32,
    )


def make_scaler(recipe: Recipe, device: torch.device) -> torch.amp.GradScaler:
    """Finds the factor on the losses that keeps float16 gradients from underflow; 1 in other precisions."""
    scaler = torch.amp.GradScaler(device.type, enabled=recipe.precision == "fp16")
    scaler.scale(torch.ones((), device=device))  # before its first use it has no factor
    return scaler


def in_float32(x: Tensor) -> AbstractContextManager[None]:
    """No autocast on the tensor's device, for what needs more digits (the meta device has none)."""
    device = x.device.type
    return torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device) else nullcontext()
