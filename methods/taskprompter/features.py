"""Each task's features, read from a level of the backbone with what its prompts were compared with."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mtlbench.resizing import resize

from ..layers.batch_norm import BatchNorm2d
from ..layers.features import FeatureConv2d
from .channels import Level, spread


class TaskFeatures(nn.Module):
    """The features of all tasks at one level.

        G_t = [spatial_t(x * S_t + x); channel_t(x * R_t + x)]
        F_t = fuse_t(up(G_t))
        F_t = sum_s w_t(S_tt')_s F_s                         if `reweights`

    S_t weighs each group of channels, one for each head, by position; R_t weighs each channel, by window.

    Args:
        tasks: their names, in order.
        channels: width of x.
        heads: of the spatial products.
        dim: width of each half of G_t.
        final_dim: width of F_t.
        length: prompts of each task.
        enlarge: how much larger F_t is than x.
        kernel: of the last convolution.
        reweights: whether tasks mix, as their prompts say.
        first_prompts: task t's channel products are those of prompt t, not the mean over its own prompts.
    """

    def __init__(
        self,
        tasks: Sequence[str],
        channels: int,
        heads: int,
        *,
        dim: int,
        final_dim: int,
        length: int,
        enlarge: int,
        kernel: int,
        reweights: bool,
        first_prompts: bool,
    ) -> None:
        super().__init__()
        self.length, self.enlarge, self.first_prompts = length, enlarge, first_prompts
        self.spatial = nn.ModuleDict({t: nn.Conv2d(channels, dim, 1) for t in tasks})
        self.channel = nn.ModuleDict({t: nn.Conv2d(channels, dim, 1) for t in tasks})
        self.fuse = nn.ModuleDict({t: Fuse(dim, final_dim, kernel) for t in tasks})
        self.reweight = nn.ModuleDict({t: _reweight(heads) for t in tasks} if reweights else {})

    def forward(self, level: Level) -> dict[str, Tensor]:
        """-> task -> (B, F, h, w), `enlarge` times as large as the map."""
        size = (level.x.shape[-2] * self.enlarge, level.x.shape[-1] * self.enlarge)
        own = {t: self._read(t, i, level, size) for i, t in enumerate(self.fuse)}
        if not self.reweight or level.among is None:
            return own
        weights = {t: net(level.among[:, :, i, None]) for i, (t, net) in enumerate(self.reweight.items())}
        return {t: sum_of(list(own.values()), w.unbind(-1)) for t, w in weights.items()}

    def _read(self, task: str, i: int, level: Level, size: tuple[int, int]) -> Tensor:
        x, mine = level.x, slice(i * self.length, (i + 1) * self.length)
        s = level.spatial[:, mine].transpose(1, 2).flatten(1, 2)  # (B, heads L, h, w)
        groups = x.unflatten(1, (s.shape[1], -1))  # (B, heads L, C / (heads L), h, w)
        spatial = self.spatial[task]((groups * s[:, :, None]).flatten(1, 2) + x)
        r = level.channel[:, i] if self.first_prompts else level.channel[:, mine].mean(1)  # (B, C, n, n)
        channel = self.channel[task](x * spread(r, (x.shape[-2], x.shape[-1])) + x)
        fused: Tensor = self.fuse[task](torch.cat([spatial, channel], dim=1), size)
        return fused


def sum_of(features: Sequence[Tensor], weights: Sequence[Tensor]) -> Tensor:
    """Maps (B, F, h, w), weights (B, 1, 1) -> (B, F, h, w)."""
    return torch.stack([w[..., None] * x for x, w in zip(features, weights, strict=True)]).sum(0)


class Fuse(nn.Sequential):
    """Pointwise convolution, 3x3 convolution at another size, batch norm, GELU, convolution."""

    def __init__(self, dim: int, final_dim: int, kernel: int) -> None:
        super().__init__(
            nn.Conv2d(2 * dim, final_dim, 1),
            FeatureConv2d(final_dim, final_dim, 3, padding=1),
            BatchNorm2d(final_dim),
            nn.GELU(),
            nn.Conv2d(final_dim, final_dim, kernel, padding=kernel // 2),
        )

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:  # type: ignore[override]
        """(B, 2 D, h, w) -> (B, F, *size)."""
        mix, conv, norm, activation, last = self
        fused: Tensor = last(activation(norm(conv(mix(x), size))))
        return fused


def _reweight(heads: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(heads, heads, 1), nn.GELU(), nn.Conv2d(heads, 1, 1))


class ConvHead(nn.Sequential):
    """3x3 convolution of a map at another size, batch norm, GELU."""

    def __init__(self, channels: int) -> None:
        conv = FeatureConv2d(channels, channels, 3, padding=1)
        super().__init__(conv, BatchNorm2d(channels), nn.GELU())
        self.channels_out = channels
        nn.init.trunc_normal_(conv.weight, std=0.02)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:  # type: ignore[override]
        """(B, F, h, w) -> (B, F, *size)."""
        conv, norm, activation = self
        projected: Tensor = activation(norm(conv(x, size)))
        return projected


class DeconvHead(nn.Sequential):
    """Transposed convolution to twice the size and half the width, batch norm, GELU, the same with a 3x3
    convolution that changes neither.
    """

    def __init__(self, channels: int) -> None:
        half = max(channels // 2, 1)
        conv = nn.ConvTranspose2d(channels, half, 2, stride=2)
        super().__init__(
            conv,
            BatchNorm2d(half),
            nn.GELU(),
            nn.Conv2d(half, half, 3, padding=1),
            BatchNorm2d(half),
            nn.GELU(),
        )
        self.channels_out = half
        nn.init.trunc_normal_(conv.weight, std=0.02)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:  # type: ignore[override]
        """(B, F, h, w) -> (B, F / 2, 2 H, 2 W) for `size` (H, W)."""
        y: Tensor = super().forward(resize(x, size))
        return y
