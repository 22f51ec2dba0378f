"""DoRA (Liu et al., "DoRA: Weight-Decomposed Low-Rank Adaptation", ICML 2024), by the library peft."""

from __future__ import annotations

from typing import ClassVar

from mtlbench.tuning import BackboneMode

from .layers.targets import Targets
from .lora import LoRA


class DoRA(LoRA):
    """DoRA: as LoRA, with a trained length for each output of an adapted layer.

    Needs `pip install 'mtlbench[peft]'`. The same as `lora` with `dora: true`.

    Args:
        r: rank of the updates.
        alpha: their scale, before it is divided by `r`.
        dropout: of an update's input.
        targets: the layers to adapt, as for `lora`.
        norms: the backbone's normalisation layers train as well.
        also: what else of the backbone trains: all parameters with one of these in their names.
        per_task: each task has all of that, and a pass of the encoder, of its own.
        backbone_mode: `eval` keeps the statistics of batch normalisation and every path.
    """

    name: ClassVar = "dora"

    def __init__(
        self,
        *,
        r: int = 4,
        alpha: float = 16.0,
        dropout: float = 0.0,
        targets: Targets = "auto",
        norms: bool = False,
        also: tuple[str, ...] = (),
        per_task: bool = False,
        backbone_mode: BackboneMode = "train",
    ) -> None:
        super().__init__(
            r=r,
            alpha=alpha,
            dropout=dropout,
            targets=targets,
            dora=True,
            norms=norms,
            also=also,
            per_task=per_task,
            backbone_mode=backbone_mode,
        )
