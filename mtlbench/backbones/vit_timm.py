"""Plain ViT as timm has it, with which InvPT and what follows it work: the AugReg weights for 384x384."""

from collections.abc import Mapping
from math import isqrt
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from mtlbench.backbones.vit import PlainViT
from mtlbench.backbones.weights import timm_model, with_weights
from mtlbench.published import Rule

DROP_PATH = 0.15


class TimmViT(PlainViT):
    """ViT/16 in timm's layout: patches embedded with a bias, LayerNorm with eps 1e-6, a norm after the last
    block, which the last map passes and the others don't.

    The position embedding stays at the size at which its weights store it. Weights of another size (a
    published network stores that of its images, 28x36 for 448x576) replace the parameter by one of theirs,
    so that the network is exact at that size. They don't say how many rows and columns they have: the number
    of positions is taken for the grid of the two nearest factors, at least as wide as high. That is wrong
    for images in portrait format.
    """

    published_keys: ClassVar[tuple[Rule, ...]] = PlainViT.timm_keys

    def __init__(self, trunk: Any, taps: tuple[int, ...]) -> None:
        super().__init__(trunk, taps, trunk.patch_embed.proj, trunk.norm)

    def adapt(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Make room for position embeddings of another image size."""
        positions = state.get("pos_embed")
        if positions is not None and positions.shape != self.pos_embed.shape:
            self.grid = squarest_grid(positions.shape[1] - 1)
            trained = self.pos_embed.requires_grad
            self.pos_embed = nn.Parameter(torch.empty_like(positions), requires_grad=trained)
        return dict(state)


def squarest_grid(count: int) -> tuple[int, int]:
    """(rows, columns), rows <= columns, of the two factors of `count` that are nearest to each other."""
    rows = next(n for n in range(isqrt(count), 0, -1) if count % n == 0)
    return rows, count // rows


def vit_b_384(*, weights: str = "none") -> TimmViT:
    """ViT-B/16 with AugReg weights for 384x384, 86 million parameters."""
    return _vit("vit_base_patch16_384", weights, taps=(2, 5, 8, 11))


def vit_l_384(*, weights: str = "none") -> TimmViT:
    """ViT-L/16 with AugReg weights for 384x384, 304 million parameters."""
    return _vit("vit_large_patch16_384", weights, taps=(5, 11, 17, 23))


def _vit(name: str, weights: str, *, taps: tuple[int, ...]) -> TimmViT:
    trunk = timm_model(name, weights, num_classes=0, drop_path_rate=DROP_PATH)
    return with_weights(TimmViT(trunk, taps), weights, trunk)
