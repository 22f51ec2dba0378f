"""What a ResNet's stages have made before their last block: beside their outputs, four more maps."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from mtlbench.backbones.base import Backbone
from mtlbench.errors import MtlbenchError

STAGES = ("layer1", "layer2", "layer3", "layer4")


def last_blocks(backbone: Backbone) -> list[nn.Module]:
    """The last block of each of a ResNet's four stages.

    Raises:
        MtlbenchError: it is no ResNet, or has stages of one block.
    """
    stages = [getattr(getattr(backbone, "trunk", None), name, None) for name in STAGES]
    blocks = [stage[-1] for stage in stages if isinstance(stage, nn.Sequential) and len(stage) > 1]
    if len(blocks) != len(STAGES):
        found = type(getattr(backbone, "trunk", backbone)).__name__
        raise MtlbenchError(
            f"a ResNet is needed, with stages {', '.join(STAGES)} of two or more blocks each, got {found}"
        )
    return blocks


def stage_halves(backbone: Backbone, images: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Images (B, 3, H, W) -> for each stage what goes into its last block, and what comes out.

    Both are (B, C_i, h_i, w_i), as the backbone's own forward pass makes them.

    Raises:
        MtlbenchError: as `last_blocks`.
    """
    before: list[Tensor] = []
    hooks = [block.register_forward_pre_hook(_keep(before)) for block in last_blocks(backbone)]
    try:
        after = backbone(images)
    finally:
        for hook in hooks:
            hook.remove()
    return [(x[..., : y.shape[-2], : y.shape[-1]], y) for x, y in zip(before, after, strict=True)]


def _keep(inputs: list[Tensor]) -> Callable[[nn.Module, tuple[Any, ...]], None]:
    def hook(_: nn.Module, given: tuple[Any, ...]) -> None:
        inputs.append(given[0])

    return hook
