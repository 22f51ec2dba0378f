"""Maps to tokens and back, and what makes the tokens that a head works on."""

from collections.abc import Sequence

from torch import Tensor, nn

from .features import FeatureConv2d


def to_tokens(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, H W, C)."""
    return x.flatten(2).transpose(1, 2)


def to_map(tokens: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, H W, C) -> (B, C, *size)."""
    return tokens.transpose(1, 2).unflatten(2, size)


class PatchEmbed(nn.Module):
    """Every 4x4 patch becomes a token; maps are padded with zeros right and below.

    Of several feature maps it takes the concatenation at the first one's size.
    """

    def __init__(self, channels: int, dim: int, *, patch: int = 4) -> None:
        super().__init__()
        self.patch = patch
        self.projection = FeatureConv2d(channels, dim, patch, stride=patch)
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor | Sequence[Tensor]) -> Tensor:
        """(B, C, H, W), or maps with as many channels together -> (B, D, ceil(H / 4), ceil(W / 4))."""
        height, width = (x if isinstance(x, Tensor) else x[0]).shape[-2:]
        projected = self.projection(x, extra=(-height % self.patch, -width % self.patch))
        return self.norm(projected.movedim(1, -1)).movedim(-1, 1)
