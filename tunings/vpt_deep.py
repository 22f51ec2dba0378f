"""VPT-deep (Jia et al., "Visual Prompt Tuning", ECCV 2022), after the released code, KMnP/vpt."""

from __future__ import annotations

from typing import ClassVar

from .vpt_shallow import VPTShallow


class VPTDeep(VPTShallow):
    """VPT-deep: prompt tokens before every block, of the block's own; the backbone is frozen.

    The backbone is a Swin (of the first version) or a plain ViT.

    Args:
        prompts: how many; 50 for each of four tasks on Swin-T are the count of published tables.
        per_task: each task has prompts, and a pass of the encoder, of its own.
        backbone_mode: `eval` keeps the statistics of batch normalisation and every path.
    """

    deep: ClassVar[bool] = True
