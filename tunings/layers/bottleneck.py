"""Bottleneck adapters behind linear layers that end a branch of a transformer's block."""

from __future__ import annotations

import re

from torch import Tensor, nn
from torch.nn import functional as F

from mtlbench.errors import MtlbenchError

AFTER_ATTENTION, AFTER_MLP = r"(.*\.)?attn\.proj", r"(.*\.)?mlp\.fc2"


class Bottleneck(nn.Module):
    """y + up(GELU(down(LN(y)))): behind a linear layer, before the branch joins the stream around it.

    `up` starts at zero, so that at first nothing changes; published code that lets `down` start at zero, too,
    blocks the gradient of both.

    Args:
        linear: the layer, which is frozen.
        width: of the bottleneck.
        norm: whether LN stands before it.
    """

    def __init__(self, linear: nn.Linear, width: int, *, norm: bool) -> None:
        super().__init__()
        device, dim = linear.weight.device, linear.out_features
        self.linear = linear
        self.norm = nn.LayerNorm(dim, device=device) if norm else nn.Identity()
        self.down = nn.Linear(dim, width, device=device)
        self.up = nn.Linear(width, dim, device=device)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(..., C_in) -> (..., C)."""
        y = self.linear(x)
        adapted: Tensor = y + self.up(F.gelu(self.down(self.norm(y))))
        return adapted


def ends_of_branches(backbone: nn.Module, patterns: list[str], *, tuning: str) -> dict[str, nn.Linear]:
    """Names and layers that one of the patterns matches as a whole.

    Raises:
        MtlbenchError: a pattern matches none: the backbone has no blocks of attention and MLP.
    """
    linear = {name: layer for name, layer in backbone.named_modules() if type(layer) is nn.Linear}
    for pattern in patterns:
        if not any(re.fullmatch(pattern, name) for name in linear):
            raise MtlbenchError(
                f"`{tuning}` needs a backbone of transformer blocks, with linear layers called `attn.proj` "
                f"and `mlp.fc2`, as timm's have them (swin-t, vit-b ...); {type(backbone).__name__} has none"
            )
    return {name: layer for name, layer in linear.items() if any(re.fullmatch(p, name) for p in patterns)}
