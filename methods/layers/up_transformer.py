"""One scale of an inverted pyramid: all tasks' maps are enlarged, then attend to each other."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from mtlbench.model import laid_out
from mtlbench.resizing import resize

from .batch_norm import BatchNorm2d
from .message_attention import MessageAttention, per_map, resize_maps


class ConvBlock(nn.Sequential):
    """3x3 convolution that keeps the size, batch norm, ReLU."""

    def __init__(self, channels_in: int, channels_out: int, *, dilation: int = 1) -> None:
        super().__init__(
            nn.Conv2d(channels_in, channels_out, 3, padding=dilation, dilation=dilation, bias=False),
            BatchNorm2d(channels_out),
            nn.ReLU(inplace=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, H, W) -> (B, C_out, H, W)."""
        return super().forward(laid_out(x))


class UpStage(nn.Module):
    """UP-Transformer stage: enlarge each task's map, add the backbone's features, attend.

        x = embed_t(up(x)) + skip              not at the coarsest scale
        x = x + attention(LN(x), message)
        x = x + MLP(LN(x))

    Args:
        tasks: their names, in order.
        dim_in: width before; None at the coarsest scale, which takes the maps as they are.
        dim: width of this stage.
        heads: of the attention.
        window: of the attention's pooling.
        mlp_ratio: width of the MLP in multiples of `dim`.
        fuses: whether the attention has a layer that takes a message.
    """

    def __init__(
        self,
        tasks: Iterable[str],
        dim_in: int | None,
        dim: int,
        *,
        heads: int,
        window: int,
        mlp_ratio: int,
        fuses: bool,
    ) -> None:
        super().__init__()
        names = tuple(tasks)
        self.embed = None if dim_in is None else nn.ModuleDict({t: _embed(dim_in, dim) for t in names})
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention = MessageAttention(names, dim, heads, window=window, fuses=fuses)
        self.mlp = nn.Sequential(nn.Linear(dim, mlp_ratio * dim), nn.GELU(), nn.Linear(mlp_ratio * dim, dim))
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor, skip: Tensor | None, message: Tensor | None) -> tuple[Tensor, Tensor]:
        """(T, B, h, w, C_in), features (B, C, any, any), a message -> (T, B, 2h, 2w, C), the next message."""
        if self.embed is not None:
            x = resize_maps(x, (2 * x.shape[2], 2 * x.shape[3]))
            x = torch.stack([per_map(embed, y) for embed, y in zip(self.embed.values(), x, strict=True)])
        if skip is not None:
            x = x + resize(skip, (x.shape[2], x.shape[3])).movedim(1, -1)
        y, message = self.attention(self.norm1(x), message)
        x = x + y
        return x + self.mlp(self.norm2(x)), message


def _embed(dim_in: int, dim: int) -> nn.Sequential:
    """Two convolutions that look two pixels far, as the map has just been doubled."""
    return nn.Sequential(ConvBlock(dim_in, dim, dilation=2), ConvBlock(dim, dim, dilation=2))
