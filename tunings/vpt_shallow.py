"""VPT-shallow (Jia et al., "Visual Prompt Tuning", ECCV 2022), after the released code, KMnP/vpt."""

from __future__ import annotations

from typing import ClassVar

from mtlbench.model import Method
from mtlbench.search.spaces import OneOf, domains
from mtlbench.tuning import BackboneMode, Tuning

from .layers.prompting import WHY_NOT_MERGED, prompt


class VPTShallow(Tuning):
    """VPT-shallow: prompt tokens before the first block, which go through all; the backbone is frozen.

    The backbone is a Swin (of the first version) or a plain ViT.

    Departures from the published code: stochastic depth, off by default, spares the prompts; and in a Swin
    each image's prompts are its own, where the published code mixes those of a batch.

    Args:
        prompts: how many; 50 for each of four tasks on Swin-T are the count of published tables.
        per_task: each task has prompts, and a pass of the encoder, of its own.
        backbone_mode: `eval` keeps the statistics of batch normalisation and every path.
    """

    starts_equal: ClassVar[bool] = False

    deep: ClassVar[bool] = False

    # around those of the paper
    search_space = domains(prompts=OneOf((1, 5, 10, 50, 100)))

    def __init__(
        self, *, prompts: int = 50, per_task: bool = True, backbone_mode: BackboneMode = "eval"
    ) -> None:
        self.prompts, self.per_task, self.backbone_mode = prompts, per_task, backbone_mode

    def apply(self, network: Method) -> Method:
        if network.needs_backbone:
            prompt(network, self.prompts, deep=self.deep, per_task=self.per_task, mode=self.backbone_mode)
        return network

    def merge(self, network: Method) -> str | None:
        return WHY_NOT_MERGED if network.needs_backbone else None
