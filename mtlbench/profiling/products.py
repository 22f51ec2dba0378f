"""Multiply-accumulates of all convolutions and matrix products, and parameters."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torchvision.ops  # noqa: F401  registers the operator that is counted below
from torch import Tensor, nn
from torch.utils.flop_counter import (
    FlopCounterMode,
    flop_registry,
    register_flop_formula,
    sdpa_flop_count,
)

from mtlbench.model import Method


@register_flop_formula(torch.ops.torchvision.deform_conv2d)
def _deform_conv_flops(
    input_shape: Any, weight_shape: Any, *args: Any, out_shape: Any = None, **kwargs: Any
) -> int:
    """The convolution itself, without the bilinear sampling; stock counters count this operator as 0.

    So `grid_sample` counts as 0 wherever it stands: reading between four pixels is interpolation, as in
    resizing, which nobody counts either.
    """
    batch, _, height, width = out_shape
    out_channels, in_channels, kernel_h, kernel_w = weight_shape
    return 2 * batch * height * width * out_channels * in_channels * kernel_h * kernel_w


_FUSED_ON_CPU = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
if _FUSED_ON_CPU not in flop_registry:  # torch 2.6 counts it as 0

    @register_flop_formula(_FUSED_ON_CPU)
    def _attention_flops(
        query_shape: Any, key_shape: Any, value_shape: Any, *args: Any, out_shape: Any = None, **kwargs: Any
    ) -> int:
        flops: int = sdpa_flop_count(query_shape, key_shape, value_shape)
        return flops


def count_macs(network: nn.Module, size: tuple[int, int]) -> int:
    """Multiply-accumulates of one (3, H, W) image in evaluation: convolutions (deformable and transposed ones
    too) and matrix products, those of attention included, nothing else.

    This is half of what `torch.utils.flop_counter` counts as FLOPs.
    """
    with FlopCounterMode(display=False) as counter:
        pass_one_image(network, size)
    return counter.get_total_flops() // 2


def count_parameters(network: nn.Module) -> tuple[int, int]:
    """(all, trainable)."""
    sizes = [(p.numel(), p.requires_grad) for p in network.parameters()]
    return sum(n for n, _ in sizes), sum(n for n, trains in sizes if trains)


def count_encoder_trainable(network: nn.Module) -> int:
    """Of the backbone, with what a tuning put into it; the rest of what trains is the decoder's."""
    encoder = getattr(network, "backbone", None)
    inside = set() if encoder is None else set(encoder.parameters())
    inside.update(network.backbone_parameters() if isinstance(network, Method) else ())
    return sum(p.numel() for p in inside if p.requires_grad)


@torch.no_grad()
def pass_one_image(network: nn.Module, size: tuple[int, int]) -> None:
    """One black image through the network in evaluation, on its own device."""
    device = next((p.device for p in network.parameters()), torch.device("cpu"))
    training = network.training
    network.eval()
    with _visible_attention(), _frozen(network):
        network(image(size, device))
    network.train(training)


def image(size: tuple[int, int], device: torch.device) -> Tensor:
    """A black one, (1, 3, H, W)."""
    return torch.zeros(1, 3, *size, device=device)


@contextmanager
def _frozen(network: nn.Module) -> Iterator[None]:
    """The counter asks each module's inputs that train for a gradient function; a parameter has none here."""
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)


@contextmanager
def _visible_attention() -> Iterator[None]:
    """In evaluation `nn.MultiheadAttention` is one operator that no counter looks into; do without it."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)
