"""The deformed spectra of many DITASK layers, made together before each pass.

A CPAB map is a hundred operations on few numbers. Done for each of the sixty layers of a Swin-T apart, they
take longer than its matrix products on small images.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from operator import is_
from typing import Any

from torch import Tensor, nn

from .ditask_linear import DiTASKLinear
from .spectra import Spectra


class TogetherDeformed:
    """Before each pass of a module its layers get their spectra, and lose them after it.

    Args:
        around: the module; all of its passes go through its `forward`.
        layers: in it.
    """

    def __init__(self, around: nn.Module, layers: Sequence[DiTASKLinear]) -> None:
        self.layers = list(layers)
        self._known: list[Tensor] = []
        self._groups: list[tuple[list[int], list[Tensor], Spectra]] = []
        around.register_forward_pre_hook(self._before)
        around.register_forward_hook(self._after, always_call=True)

    def _before(self, module: nn.Module, inputs: Any) -> None:
        self._lay_out()
        found: dict[int, Tensor] = {}
        for numbers, thetas, spectra in self._groups:
            found |= dict(zip(numbers, spectra.deformed(thetas), strict=True))
        first = 0
        for layer in self.layers:
            last = first + len(layer.thetas())
            layer.spectra = [found[i] for i in range(first, last)]
            first = last

    def _after(self, module: nn.Module, inputs: Any, output: Any) -> None:
        for layer in self.layers:
            layer.spectra = None

    def _lay_out(self) -> None:
        """Find the groups, anew where a weight has changed or moved."""
        spectra = [layer.decomposition().s for layer in self.layers]
        if len(self._known) == len(spectra) and all(map(is_, spectra, self._known)):
            return
        maps = [(theta, s) for layer, s in zip(self.layers, spectra, strict=True) for theta in layer.thetas()]
        by_cells: dict[int, list[int]] = defaultdict(list)
        for i, (theta, _) in enumerate(maps):
            by_cells[theta.shape[-1]].append(i)
        self._groups = [
            (numbers, [maps[i][0] for i in numbers], Spectra([maps[i][1] for i in numbers]))
            for numbers in by_cells.values()
        ]
        self._known = spectra
