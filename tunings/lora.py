"""LoRA (Hu et al. 2022) in the backbone, by the library peft."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from torch import nn

from mtlbench.errors import MtlbenchError
from mtlbench.search.spaces import OneOf, Range, domains
from mtlbench.tuning import BackboneMode

from .layers.injected import Injected
from .layers.targets import Targets


class LoRA(Injected):
    """LoRA: the backbone is frozen, but low-rank updates of its layers train, and the whole decoder.

    Needs `pip install 'mtlbench[peft]'`. A layer W becomes W + alpha / r B A; B starts at zero.

    Args:
        r: rank of the updates.
        alpha: their scale, before it is divided by `r` (by its root with `rslora`).
        dropout: of an update's input.
        targets: the layers to adapt. `auto`: all linear layers of attention and MLP; in a backbone without
            attention all convolutions and linear layers (none that are grouped). `all-linear`: all linear
            layers. Else a list of ends of their names, or one regular expression for whole names.
        bias: biases that train as well: all of the backbone, or those of the adapted layers (`lora_only`).
        dora: DoRA (Liu et al. 2024): a trained length for each output of an adapted layer.
        rslora: see `alpha`.
        norms: the backbone's normalisation layers train as well.
        also: what else of the backbone trains: all parameters with one of these in their names.
        per_task: each task has all of that, and a pass of the encoder, of its own.
        backbone_mode: `eval` keeps the statistics of batch normalisation and every path.
    """

    name: ClassVar = "lora"

    # r: around the ranks of the paper; alpha: two octaves above the default, four below.
    search_space = domains(r=OneOf((1, 2, 4, 8, 16, 32)), alpha=Range(1, 64, log=True))

    def __init__(
        self,
        *,
        r: int = 4,
        alpha: float = 16.0,
        dropout: float = 0.0,
        targets: Targets = "auto",
        bias: Literal["none", "all", "lora_only"] = "none",
        dora: bool = False,
        rslora: bool = False,
        norms: bool = False,
        also: tuple[str, ...] = (),
        per_task: bool = False,
        backbone_mode: BackboneMode = "train",
    ) -> None:
        _check(r, alpha, dropout)
        super().__init__(
            targets=targets, norms=norms, also=also, per_task=per_task, backbone_mode=backbone_mode
        )
        self.options: dict[str, Any] = {
            "r": r,
            "lora_alpha": alpha,
            "lora_dropout": dropout,
            "bias": bias,
            "use_dora": dora,
            "use_rslora": rslora,
        }

    def config(self, pattern: str, names: list[str]) -> Any:
        from peft import LoraConfig

        return LoraConfig(target_modules=pattern, **self.options)

    def mend(self, layer: Any) -> None:
        """Peft makes a convolution's update without its dilation."""
        if isinstance(layer.get_base_layer(), nn.Conv2d):
            for down in layer.lora_A.values():
                down.dilation = layer.get_base_layer().dilation


def _check(r: int, alpha: float, dropout: float) -> None:
    if r < 1:
        raise MtlbenchError(f"`r` must be >= 1, got {r}")
    if alpha <= 0:
        raise MtlbenchError(f"`alpha` must be > 0, got {alpha}")
    if not 0 <= dropout < 1:
        raise MtlbenchError(f"`dropout` must be in [0, 1), got {dropout}")
