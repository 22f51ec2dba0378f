"""Where prompts are put: into all blocks of a Swin or a ViT."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mtlbench.backbones.swin import Swin
from mtlbench.backbones.timm_features import TimmSwin
from mtlbench.backbones.vit import PlainViT
from mtlbench.errors import MtlbenchError
from mtlbench.model import Method
from mtlbench.tuning import BackboneMode, freeze_backbone

from .own_maps import check_shared
from .passes import one_for_each_task
from .placement import BLOCKS
from .prompts import Carried, PromptedAttention

WHY_NOT_MERGED = "prompts are no weights"


def prompt(network: Method, count: int, *, deep: bool, per_task: bool, mode: BackboneMode) -> None:
    """Freeze the backbone and give it prompts, to each task its own if so asked.

    Raises:
        MtlbenchError: the backbone is neither a Swin nor a plain ViT, the method reads more than
            its maps (`check_shared`), or `count` is not positive.
    """
    if count < 1:
        raise MtlbenchError(f"`prompts` must be >= 1, got {count}")
    check_shared(network)
    backbone: Any = network.backbone
    blocks = list(_blocks(backbone))
    freeze_backbone(network, mode)
    bound = _bound(backbone)
    carried = None if deep else Carried()
    for i, (block, merging) in enumerate(blocks):
        own = count if deep or i == 0 else 0
        block.attn = PromptedAttention(block, own, bound, carried=carried, merging=merging)
    if carried is not None:
        backbone.register_forward_pre_hook(carried.begin)
    if per_task:
        one_for_each_task(network)


def _blocks(backbone: Any) -> Iterator[tuple[Any, Any]]:
    """Each block, with the merging of patches that stands before it."""
    if isinstance(backbone, Swin | TimmSwin):
        for i, stage in enumerate(backbone.layers):
            for j, block in enumerate(stage.blocks):
                yield block, stage.downsample if i and not j else None
    elif isinstance(backbone, PlainViT):
        yield from ((block, None) for block in backbone.blocks)
    else:
        raise MtlbenchError(
            f"prompts need the blocks of a Swin or ViT: {BLOCKS}, got a {type(backbone).__name__}"
        )


def _bound(backbone: Any) -> float:
    """Of the initial values, as published: from the sides of a patch and the width of the first block."""
    side = backbone.patch if isinstance(backbone, PlainViT) else backbone.patch_embed.patch_size[0]
    dim = next(_blocks(backbone))[0].attn.qkv.in_features
    return float((6 / (3 * side * side + dim)) ** 0.5)
