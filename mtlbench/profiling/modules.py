"""Multiply-accumulates as a counter sees them that hooks modules; `mtlbench.profiling` has the convention.

* Convolution, linear map: products, and 1 per output element for a bias. Of a transposed convolution as if
  each weight met every output pixel: stride^2 times the work that it is.
* Batch, layer and group norm: 2 per element. Activation: 1 per element.
* `nn.MultiheadAttention`: `attention_macs`.
* All others: what is in them.

Functions (`F.relu`, `F.scaled_dot_product_attention`, `@`, resizing) and operators (deformable convolution)
are not seen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn
from torch.nn.modules import activation
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd
from torch.utils.hooks import RemovableHandle

from mtlbench.profiling.products import pass_one_image

NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm)
ACTIVATIONS = tuple(
    getattr(activation, name) for name in activation.__all__ if name != nn.MultiheadAttention.__name__
)


def count_module_macs(network: nn.Module, size: tuple[int, int]) -> int:
    """Module MACs of one (3, H, W) image in evaluation."""
    with ModuleCounter(network) as counter:
        pass_one_image(network, size)
    return counter.total


def conv_macs(layer: _ConvNd, pixels: int) -> int:
    """Of a convolution with so many output pixels, those of all images."""
    return pixels * (layer.weight.numel() + (layer.bias is not None) * layer.out_channels)


def linear_macs(layer: nn.Linear, tokens: int) -> int:
    """Of a linear map of so many tokens."""
    return tokens * layer.out_features * (layer.in_features + (layer.bias is not None))


def norm_macs(layer: nn.LayerNorm, tokens: int) -> int:
    """Of a layer norm of so many tokens."""
    return 2 * tokens * math.prod(layer.normalized_shape)


def attention_macs(
    attention: nn.MultiheadAttention, query: Sequence[int], key: Sequence[int], value: Sequence[int]
) -> int:
    """Of one call with tensors of these shapes, each with a batch axis.

    The batch is that of the query, also where keys have another; the three input projections, q k^T, softmax,
    a v, and the output projection.
    """
    batch, length = (0, 1) if attention.batch_first else (1, 0)
    q, k, v, dim = query[length], key[length], value[length], attention.embed_dim
    bias = attention.in_proj_bias is not None
    projections = dim * (q * dim + k * (attention.kdim or dim) + v * (attention.vdim or dim))
    projections += bias * dim * (q + k + v)
    products = 2 * q * k * dim + q * k * attention.num_heads
    output = q * dim * (dim + bias)
    return query[batch] * (projections + products + output)


@dataclass
class _Call:
    """One forward pass of a module: what was counted in the modules that it called, by their full names."""

    name: str
    counted: dict[str, int] = field(default_factory=dict)

    def relative(self) -> dict[str, int]:
        prefix = f"{self.name}." if self.name else ""
        return {name.removeprefix(prefix): macs for name, macs in self.counted.items()}


class ModuleCounter:
    """While it is entered, counts the module MACs of every forward pass of a network in `total`."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self.total = 0
        self._calls: list[_Call] = []
        self._hooks: list[RemovableHandle] = []

    def __enter__(self) -> ModuleCounter:
        for name, module in self.network.named_modules():
            self._hooks.append(module.register_forward_pre_hook(self._opened(name)))
            self._hooks.append(module.register_forward_hook(self._closed, with_kwargs=True))
        return self

    def __exit__(self, *exception: object) -> None:
        for hook in self._hooks:
            hook.remove()

    def _opened(self, name: str) -> Callable[..., None]:
        def note(module: nn.Module, inputs: tuple[Any, ...]) -> None:
            self._calls.append(_Call(name))

        return note

    def _closed(self, module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any], output: Any) -> None:
        call = self._calls.pop()
        macs = _macs_of(module, inputs, named, output, call.relative())
        if not self._calls:
            self.total += macs
            return
        above = self._calls[-1].counted
        above[call.name] = above.get(call.name, 0) + macs


def _macs_of(
    module: nn.Module,
    inputs: tuple[Any, ...],
    named: dict[str, Any],
    output: Any,
    counted: Mapping[str, int],
) -> int:
    """Of one call of a module, all that is in it included."""
    own: Callable[..., int] | None = getattr(module, "module_macs", None)
    if own is not None:
        return own(inputs, output, counted)
    if isinstance(module, nn.MultiheadAttention):
        tensors = dict(zip(("query", "key", "value"), inputs, strict=False)) | named
        return attention_macs(module, *(tensors[name].shape for name in ("query", "key", "value")))
    if isinstance(module, _ConvNd):
        return conv_macs(module, output.shape[0] * math.prod(output.shape[2:]))
    if isinstance(module, nn.Linear):
        return linear_macs(module, output.numel() // module.out_features)
    if isinstance(module, NORMS):
        return 2 * output.numel()
    if isinstance(module, ACTIVATIONS):
        return output.numel()
    return sum(counted.values())
