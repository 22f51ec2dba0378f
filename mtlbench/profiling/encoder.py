"""How many images enter the encoder for one image: one, unless tasks have encoders or passes of their own.

Counted where images enter: at the first layer with weights that a backbone calls (a patch embedding, or a
convolution). A pass with a batch of T copies counts as T passes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn
from torch.utils.hooks import RemovableHandle

from mtlbench.backbones.base import Backbone


class EncoderCounter:
    """While it is entered, counts the images that enter a network's encoders in `images`."""

    def __init__(self, network: nn.Module) -> None:
        self.images = 0
        self._encoders = find_encoders(network)
        self._entries: dict[nn.Module, nn.Module] = {}
        self._hooks: list[RemovableHandle] = []

    def __enter__(self) -> EncoderCounter:
        for encoder in self._encoders:
            layers = [part for part in encoder.modules() if _is_layer(part)]
            self._hooks += [layer.register_forward_pre_hook(self._entered(encoder)) for layer in layers]
        return self

    def __exit__(self, *exception: object) -> None:
        for hook in self._hooks:
            hook.remove()

    def _entered(self, encoder: nn.Module) -> Callable[..., None]:
        def note(layer: nn.Module, inputs: tuple[Any, ...]) -> None:
            if self._entries.setdefault(encoder, layer) is layer:
                self.images += len(inputs[0])

        return note


def find_encoders(network: nn.Module) -> list[nn.Module]:
    """All backbones in it; where a tuning put something else in their place, that."""
    backbones = [part for part in network.modules() if isinstance(part, Backbone)]
    inner: list[nn.Module] = [b for b in backbones if not any(other in backbones for other in _inside(b))]
    instead = getattr(network, "backbone", None)
    return inner or ([instead] if isinstance(instead, nn.Module) else [])


def _inside(module: nn.Module) -> list[nn.Module]:
    return [part for part in module.modules() if part is not module]


def _is_layer(module: nn.Module) -> bool:
    """Has weights, and no modules in it."""
    return not any(True for _ in module.children()) and any(True for _ in module.parameters(recurse=False))
