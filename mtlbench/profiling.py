"""Counts of parameters and multiply-accumulates."""

from __future__ import annotations

from typing import Any

import torch
import torchvision.ops  # noqa: F401  registers the operator that is counted below
from torch import nn
from torch.utils.flop_counter import FlopCounterMode, register_flop_formula

from mtlbench.model import Method


@register_flop_formula(torch.ops.torchvision.deform_conv2d)
def _deform_conv_flops(
    input_shape: Any, weight_shape: Any, *args: Any, out_shape: Any = None, **kwargs: Any
) -> int:
    """The convolution itself, without the bilinear sampling; stock counters count this operator as 0."""
    batch, _, height, width = out_shape
    out_channels, in_channels, kernel_h, kernel_w = weight_shape
    return 2 * batch * height * width * out_channels * in_channels * kernel_h * kernel_w


@torch.no_grad()
def count_macs(network: Method, size: tuple[int, int]) -> int:
    """Multiply-accumulates of one (3, H, W) image: convolutions (deformable ones too) and matrix products,
    nothing else.

    This is half of what `torch.utils.flop_counter` counts as FLOPs.
    """
    device = next((p.device for p in network.parameters()), torch.device("cpu"))
    training = network.training
    network.eval()
    with FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, 3, *size, device=device))
    network.train(training)
    return counter.get_total_flops() // 2


def count_parameters(network: nn.Module) -> tuple[int, int]:
    """(all, trainable)."""
    sizes = [(p.numel(), p.requires_grad) for p in network.parameters()]
    return sum(n for n, _ in sizes), sum(n for n, trains in sizes if trains)
