"""Cuts the autograd graph at the backbone's feature maps, so that what lies above and below is differentiated
apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree


@dataclass(frozen=True)
class Map:
    """One feature map: as the backbone made it, and the leaf that took its place above the cut."""

    below: Tensor
    above: Tensor


class Cut:
    """Replaces what a module gives by leaves that hold the same values, while it is active.

    It works for modules that are called several times in a forward pass, and for any nesting of outputs. Maps
    that need no gradient pass as they are, and so do a dict's: each task has its own there, so that nothing
    is gained by a cut, and what is below belongs to who reaches it.
    """

    def __init__(self, module: nn.Module | None) -> None:
        self.active = False
        self._maps: list[Map] = []
        self._handle = module.register_forward_hook(self._replace) if module is not None else None

    def take(self) -> list[Map]:
        """The maps since the last call, in the order in which they were made."""
        maps, self._maps = self._maps, []
        return maps

    def close(self) -> None:
        if self._handle is not None:
            self._handle.remove()

    def _replace(self, module: nn.Module, inputs: Any, outputs: Any) -> Any:
        if not (self.active and torch.is_grad_enabled()) or isinstance(outputs, dict):
            return None
        seen: dict[Tensor, Tensor] = {}

        def leaf(output: Any) -> Any:
            if not (isinstance(output, Tensor) and output.requires_grad):
                return output
            if output not in seen:
                seen[output] = output.detach().requires_grad_()
                self._maps.append(Map(output, seen[output]))
            return seen[output]

        return pytree.tree_map(leaf, outputs)
