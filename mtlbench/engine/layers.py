"""Gramians of weight gradients that are never written out.

A convolution or linear layer sees inputs U (N, D), one row per position of the whole batch, and gives outputs
whose gradient for task i is V_i (N, C). Its weight gradient is U^T V_i (D, C), and the inner products of two
tasks' weight gradients need only

    <U^T V_i, U^T V_j> = <(U U^T) V_i, V_j>

For late layers, with few positions and many weights, this costs far less than T weight gradients: neither are
they computed nor stored. The combined gradient, with task weights w, is one weight gradient more:
U^T (sum_i w_i V_i).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import unfold
from torch.nn.grad import conv2d_weight

from mtlbench.engine.rows import inner_products, weighted_sum


@dataclass
class Call:
    """One forward pass of a layer."""

    inputs: Tensor
    outputs: Tensor


Calls = Mapping[nn.Module, Sequence[Call]]


class Layers:
    """The convolution and linear layers of a network whose weight gradients need not be written out.

    Only layers that a forward pass calls once, plainly, qualify. Calls are noted while it is active.
    """

    def __init__(self, network: nn.Module) -> None:
        self.active = False
        self._calls: dict[nn.Module, list[Call]] = {}
        self._handles = {
            module: module.register_forward_hook(self._note)
            for module in network.modules()
            if is_plain(module) and module.weight.requires_grad
        }

    def take(self) -> Calls:
        """The calls since the last time."""
        calls, self._calls = self._calls, {}
        return calls

    def keep(self, modules: set[nn.Module]) -> None:
        """Watch these only."""
        for module in list(self._handles):
            if module not in modules:
                self._handles.pop(module).remove()

    def _note(self, module: nn.Module, inputs: tuple[Tensor, ...], outputs: Tensor) -> None:
        if self.active and outputs.requires_grad and inputs:  # else the input came by name
            self._calls.setdefault(module, []).append(Call(inputs[0].detach(), outputs))


def is_plain(module: nn.Module) -> bool:
    """Exactly a linear layer, or an ungrouped convolution with zeros around."""
    if type(module) is nn.Conv2d:
        return module.groups == 1 and module.padding_mode == "zeros" and not isinstance(module.padding, str)
    return type(module) is nn.Linear


def pays(module: nn.Module, call: Call, tasks: int) -> bool:
    """Whether inner products without weight gradients need fewer multiplications than with them."""
    weight = module.get_parameter("weight")
    channels, depth = weight.shape[0], weight[0].numel()
    positions = call.outputs.numel() // channels
    return positions * (depth + tasks * channels) < (tasks - 1) * depth * channels


def parameters_of(module: nn.Module) -> list[nn.Parameter]:
    """Weight and bias, as far as they train."""
    return [p for p in module.parameters(recurse=False) if p.requires_grad]


def gramian(module: nn.Module, call: Call, gradients: Sequence[Tensor]) -> Tensor:
    """(T, T) float64 of the gradients of weight and bias, from those of the outputs, one per task."""
    inputs = _positions(module, call.inputs.to(call.outputs.dtype)).float()  # (N, D)
    between = inputs @ inputs.T  # (N, N)
    if getattr(module, "bias", None) is not None and module.get_parameter("bias").requires_grad:
        between += 1
    v = torch.stack([_channels_last(module, g) for g in gradients]).float()  # (T, N, C)
    return inner_products((between @ v).flatten(1), v.flatten(1))


def combined(
    module: nn.Module, call: Call, gradients: Sequence[Tensor], weights: Sequence[float]
) -> list[Tensor]:
    """The gradients of weight and bias for a weighted sum of the tasks."""
    outputs = weighted_sum(weights, gradients)
    assert outputs is not None
    inputs = call.inputs.to(outputs.dtype)
    if isinstance(module, nn.Conv2d):
        weight = conv2d_weight(
            inputs,
            module.weight.shape,
            outputs,
            stride=module.stride,
            padding=module.padding,
            dilation=module.dilation,
        )
    else:
        weight = _channels_last(module, outputs).T @ inputs.flatten(0, -2)
    found = {"weight": weight, "bias": _channels_last(module, outputs).sum(0)}
    return [found[name] for name, p in module.named_parameters(recurse=False) if p.requires_grad]


def _positions(module: nn.Module, inputs: Tensor) -> Tensor:
    """What each output position sees, (N, D)."""
    if not isinstance(module, nn.Conv2d):
        return inputs.flatten(0, -2)
    patches = unfold(inputs, module.kernel_size, module.dilation, module.padding, module.stride)  # type: ignore[arg-type]
    return patches.transpose(1, 2).flatten(0, 1)


def _channels_last(module: nn.Module, outputs: Tensor) -> Tensor:
    """Gradients of outputs, (N, C), in the order of `_positions`."""
    return (outputs.movedim(1, -1) if isinstance(module, nn.Conv2d) else outputs).flatten(0, -2)
