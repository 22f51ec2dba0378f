"""VeRA (Kopiczko et al., "VeRA: Vector-based Random Matrix Adaptation", ICLR 2024), by the library peft."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import nn

from mtlbench.errors import MtlbenchError
from mtlbench.search.spaces import OneOf, domains
from mtlbench.tuning import BackboneMode

from .layers.injected import Injected
from .layers.targets import Targets


class VeRA(Injected):
    """VeRA: low-rank updates from two random matrices for all layers; two vectors of each layer train.

    Needs `pip install 'mtlbench[peft]'`. A layer W becomes W + diag(b) B diag(d) A, A and B drawn once; b
    starts at zero. Linear layers only.

    Args:
        r: rows of A.
        dropout: of an update's input.
        targets: the layers to adapt, as for `lora`.
        norms: the backbone's normalisation layers train as well.
        also: what else of the backbone trains: all parameters with one of these in their names.
        per_task: each task has all of that, and a pass of the encoder, of its own.
        backbone_mode: `eval` keeps the statistics of batch normalisation and every path.
    """

    name: ClassVar = "vera"

    linear_only: ClassVar[bool] = True

    # r: around those of the paper.
    search_space = domains(r=OneOf((64, 128, 256, 512, 1024)))

    def __init__(
        self,
        *,
        r: int = 256,
        dropout: float = 0.0,
        targets: Targets = "auto",
        norms: bool = False,
        also: tuple[str, ...] = (),
        per_task: bool = False,
        backbone_mode: BackboneMode = "train",
    ) -> None:
        if r < 1:
            raise MtlbenchError(f"`r` must be >= 1, got {r}")
        if not 0 <= dropout < 1:
            raise MtlbenchError(f"`dropout` must be in [0, 1), got {dropout}")
        super().__init__(
            targets=targets, norms=norms, also=also, per_task=per_task, backbone_mode=backbone_mode
        )
        self.options: dict[str, Any] = {"r": r, "vera_dropout": dropout}

    def config(self, pattern: str, names: list[str]) -> Any:
        from peft import VeraConfig

        return VeraConfig(target_modules=pattern, **self.options)

    def inject(self, config: Any, backbone: nn.Module) -> None:
        """The layers keep what they share; peft's wrapper around the backbone, which made it, is left."""
        from peft import get_peft_model

        get_peft_model(backbone, config)
