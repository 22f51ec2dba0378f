"""Maps to tokens and back, and what makes the tokens that a head works on."""

from torch import Tensor, nn

from mtlbench.backbones.base import pad_to_multiple


def to_tokens(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, H W, C)."""
    return x.flatten(2).transpose(1, 2)


def to_map(tokens: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, H W, C) -> (B, C, *size)."""
    return tokens.transpose(1, 2).unflatten(2, size)


class PatchEmbed(nn.Module):
    """Every 4x4 patch becomes a token; maps are padded with zeros right and below."""

    def __init__(self, channels: int, dim: int, *, patch: int = 4) -> None:
        super().__init__()
        self.patch = patch
        self.projection = nn.Conv2d(channels, dim, patch, stride=patch)
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, D, ceil(H / 4), ceil(W / 4))."""
        x = self.projection(pad_to_multiple(x, self.patch))
        return self.norm(x.movedim(1, -1)).movedim(-1, 1)


class PixelEmbed(nn.Sequential):
    """Every pixel becomes a token: a linear map and LayerNorm."""

    def __init__(self, channels: int, dim: int) -> None:
        super().__init__(nn.Linear(channels, dim), nn.LayerNorm(dim))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, D, H, W)."""
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)
