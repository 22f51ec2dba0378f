"""What is done with a network in between leaves no trace in its training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@contextmanager
def aside(network: nn.Module, fabric: Fabric) -> Iterator[None]:
    """Buffers, random numbers, and each module's mode are afterwards as they were.

    So batch statistics stay, training draws the dropout masks that it would have drawn, and what a tuning
    keeps in evaluation mode is still in it.
    """
    buffers = [buffer.clone() for buffer in network.buffers()]
    modes = [(module, module.training) for module in network.modules()]
    devices = [fabric.device.index or 0] if fabric.device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        with torch.no_grad():
            for buffer, value in zip(network.buffers(), buffers, strict=True):
                buffer.copy_(value)
        if any(module.training != mode for module, mode in modes):
            network.train(modes[0][1])  # for modules that do more than note it
            for module, mode in modes:
                module.training = mode
