"""Tunings whose layers come from the library peft."""

from __future__ import annotations

import re
from importlib.util import find_spec
from typing import Any, ClassVar

from torch import nn

from mtlbench.errors import MissingExtra, MtlbenchError
from mtlbench.model import Method
from mtlbench.tuning import BackboneMode, Tuning, freeze_backbone, named_parameters, norm_parameters, train

from .passes import WHY_NOT_MERGED, one_for_each_task
from .replacing import put
from .targets import Targets, find_targets


class Injected(Tuning):
    """The backbone is frozen, but what peft puts around some of its layers trains, and the whole decoder.

    Args:
        targets: the layers to adapt (`find_targets`).
        norms: the backbone's normalisation layers train as well.
        also: what else of the backbone trains: all parameters with one of these in their names.
        per_task: each task has all of that, and a pass of the encoder, of its own.
        backbone_mode: `eval` keeps the statistics of batch normalisation and every path.
    """

    name: ClassVar[str]

    linear_only: ClassVar[bool] = False
    """Peft can't put this around convolutions."""

    def __init__(
        self,
        *,
        targets: Targets,
        norms: bool,
        also: tuple[str, ...],
        per_task: bool,
        backbone_mode: BackboneMode,
    ) -> None:
        self.targets, self.norms, self.also, self.per_task = targets, norms, also, per_task
        self.backbone_mode = backbone_mode

    def config(self, pattern: str, names: list[str]) -> Any:
        """Peft's configuration, for the layers of these names, which `pattern` matches."""
        raise NotImplementedError

    def inject(self, config: Any, backbone: nn.Module) -> None:
        """Wrap the layers, in place."""
        from peft import inject_adapter_in_model

        inject_adapter_in_model(config, backbone)

    def mend(self, layer: Any) -> None:
        """Put right what peft makes of a layer."""

    def apply(self, network: Method) -> Method:
        if not network.needs_backbone:
            return network
        backbone = network.backbone
        names = find_targets(backbone, self.targets)
        if self.linear_only:
            self._check_linear(backbone, names)
        further = [*named_parameters(backbone, self.also, option="also")]
        further += norm_parameters(backbone) if self.norms else []
        freeze_backbone(network, self.backbone_mode)
        self._inject(backbone, names)
        train(further)
        if self.per_task:
            one_for_each_task(network)
        return network

    def _check_linear(self, backbone: nn.Module, names: list[str]) -> None:
        for name in names:
            if not isinstance(backbone.get_submodule(name), nn.Linear):
                raise MtlbenchError(
                    f"`{self.name}` adapts linear layers alone, of this backbone's `targets` `{name}` is a "
                    "convolution: name others, or take `lora`"
                )

    def _inject(self, backbone: nn.Module, names: list[str]) -> None:
        """Wrap these layers, in place."""
        if find_spec("peft") is None:
            raise MissingExtra("peft", "peft", f"tuning `{self.name}`")
        _enter(backbone, names)
        pattern = "|".join(re.escape(name) for name in names)
        self.inject(self.config(pattern, names), backbone)
        for name in names:
            self.mend(backbone.get_submodule(name))

    def merge(self, network: Method) -> str | None:
        if not network.needs_backbone:
            return None
        if self.per_task:
            return WHY_NOT_MERGED
        _merge(network.backbone)
        return None


def _enter(backbone: nn.Module, names: list[str]) -> None:
    """Let passes go through these layers: attention of timm's Swin V2 else takes the weight of qkv alone."""
    for name in names:
        around: Any = backbone.get_submodule(name.rpartition(".")[0])
        if hasattr(around, "qkv_bias_separate"):
            around.qkv_bias_separate = True


def _merge(backbone: nn.Module) -> None:
    """Add the updates to the layers' weights, and put the layers back."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    wrapped = [(name, part) for name, part in backbone.named_modules() if isinstance(part, BaseTunerLayer)]
    for name, layer in wrapped:
        layer.merge()
        put(backbone, name, layer.get_base_layer())
