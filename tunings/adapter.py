"""Bottleneck adapters (Houlsby et al., "Parameter-Efficient Transfer Learning for NLP", ICML 2019; behind the
MLP alone: Pfeiffer et al., EACL 2021).
"""

from __future__ import annotations

from typing import Literal

from mtlbench.errors import MtlbenchError
from mtlbench.model import Method
from mtlbench.search.spaces import OneOf, domains
from mtlbench.tuning import BackboneMode, Tuning, freeze_backbone

from .layers.bottleneck import AFTER_ATTENTION, AFTER_MLP, Bottleneck, ends_of_branches
from .layers.passes import one_for_each_task
from .layers.replacing import put


class Adapter(Tuning):
    """Adapter: a small MLP behind each block's MLP; the backbone is frozen, the whole decoder trains.

    With the default options four tasks on Swin-T train 8.69 million parameters of the encoder, which is what
    the rows "Adapter" of published tables hold beside their decoders.

    Args:
        reduction: the layer's width over that of the bottleneck.
        after: `mlp`, or `both`: behind the attention as well.
        norm: LN stands before the bottleneck.
        per_task: each task has adapters, and a pass of the encoder, of its own; else all share them.
        backbone_mode: `eval` keeps the statistics of batch normalisation and every path.
    """

    # reduction: around the published one and those of the papers.
    search_space = domains(reduction=OneOf((2, 4, 8, 16, 32)))

    def __init__(
        self,
        *,
        reduction: int = 2,
        after: Literal["mlp", "both"] = "mlp",
        norm: bool = True,
        per_task: bool = True,
        backbone_mode: BackboneMode = "train",
    ) -> None:
        if reduction < 1:
            raise MtlbenchError(f"`reduction` of adapter must be >= 1, got {reduction}")
        self.reduction, self.norm, self.per_task = reduction, norm, per_task
        self.patterns = [AFTER_MLP] if after == "mlp" else [AFTER_ATTENTION, AFTER_MLP]
        self.backbone_mode = backbone_mode

    def apply(self, network: Method) -> Method:
        if not network.needs_backbone:
            return network
        backbone = network.backbone
        layers = ends_of_branches(backbone, self.patterns, tuning="adapter")
        freeze_backbone(network, self.backbone_mode)
        for name, linear in layers.items():
            width = max(linear.out_features // self.reduction, 1)
            put(backbone, name, Bottleneck(linear, width, norm=self.norm))
        if self.per_task:
            one_for_each_task(network)
        return network

    def merge(self, network: Method) -> str | None:
        return "adapters are not linear" if network.needs_backbone else None
