"""SegNet as the literature on loss balancing has it: five stages that halve a map, five that double it again.

    E_k = stage_k(pool(E_{k-1})),  k = 0 .. 4      2x2 max pooling, which remembers where each maximum was
    D_k = stage'_k(unpool(D_{k+1})), k = 4 .. 0    back to those places, zeros elsewhere; D_5 = pool(E_4)

Stage k has as many channels as `widths` says, and two 3x3 convolutions, or three from the third stage on. The
decoder's stage k ends with the width of stage k - 1.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import cast

from torch import Tensor, nn
from torch.nn import functional as F

from .batch_norm import BatchNorm2d

WIDTHS = (64, 128, 256, 512, 512)
DIVISOR = 2 ** len(WIDTHS)
"""Sides of images are multiples of it."""
TWO = 2
"""Stages that have two convolutions; those after them have three."""


class Stage(nn.Module):
    """A convolution that changes the width, and one or two that keep it.

    Args:
        channels_in: width of what comes.
        channels_out: width of what goes.
        rest: how many keep it.
        doubled: each convolution is followed by another of its width.
    """

    def __init__(self, channels_in: int, channels_out: int, rest: int, *, doubled: bool = False) -> None:
        super().__init__()
        more = (channels_out,) if doubled else ()
        self.first = convolutions(channels_in, channels_out, *more)
        blocks = [convolutions(channels_out, channels_out, *more) for _ in range(rest)]
        self.rest = nn.Sequential(*blocks) if rest > 1 else blocks[0]

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, H, W) -> (B, C_out, H, W)."""
        y: Tensor = self.rest(self.first(x))
        return y


class Split(nn.Module):
    """One encoder and decoder for all tasks.

    Args:
        tasks: their names.
        widths: of the stages.
        doubled: each convolution is followed by another of its width.
    """

    def __init__(self, tasks: Iterable[str], widths: Sequence[int], *, doubled: bool = False) -> None:
        super().__init__()
        self.tasks = tuple(tasks)
        self.encoder, self.decoder = stages(widths, doubled=doubled)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Images (B, 3, H, W) -> task -> (B, C_0, H, W), the same for all."""
        x, indices = encode(self.encoder, x)
        return dict.fromkeys(self.tasks, decode(self.decoder, x, indices))


def stages(widths: Sequence[int], *, doubled: bool = False) -> tuple[nn.ModuleList, nn.ModuleList]:
    """The stages of an encoder and of a decoder, both by their number k."""
    return (
        nn.ModuleList(Stage(a, b, n, doubled=doubled) for a, b, n in encoder_widths(widths)),
        nn.ModuleList(Stage(a, b, n, doubled=doubled) for a, b, n in decoder_widths(widths)),
    )


def encoder_widths(widths: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Of stage k: width that comes and goes, and how many convolutions keep the latter."""
    for k, (a, b) in enumerate(pairwise((3, *widths))):
        yield a, b, 1 if k < TWO else 2


def decoder_widths(widths: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """The same of the decoder."""
    for k, (a, b) in enumerate(pairwise((widths[0], *widths))):
        yield b, a, 1 if k < TWO else 2


def convolutions(*widths: int) -> nn.Sequential:
    """From each width to the next a 3x3 convolution with bias, batch norm and ReLU."""
    layers: list[nn.Module] = []
    for a, b in pairwise(widths):
        layers += [nn.Conv2d(a, b, 3, padding=1), BatchNorm2d(b), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


def encode(encoder: Iterable[nn.Module], x: Tensor) -> tuple[Tensor, list[Tensor]]:
    """(B, C, H, W) -> what the last stage leaves, pooled, and the places of all stages' maxima."""
    indices = []
    for stage in encoder:
        x, places = pool(stage(x))
        indices.append(places)
    return x, indices


def decode(decoder: nn.ModuleList, x: Tensor, indices: Sequence[Tensor]) -> Tensor:
    """What `encode` gives -> (B, C_0, H, W)."""
    for stage, places in zip(reversed(decoder), reversed(indices), strict=True):
        x = stage(unpool(x, places))
    return x


def pool(x: Tensor) -> tuple[Tensor, Tensor]:
    """(B, C, H, W) -> maxima (B, C, H/2, W/2) and their places in the map."""
    pooled, places = F.max_pool2d_with_indices(x, (2, 2))
    return pooled, places


def unpool(x: Tensor, places: Tensor) -> Tensor:
    """(B, C, H/2, W/2) -> (B, C, H, W): values at their places, zeros elsewhere."""
    return F.max_unpool2d(x, places, (2, 2))


def stages_of(networks: nn.ModuleDict, task: str) -> nn.ModuleList:
    """A task's stages, where each has its own."""
    return cast(nn.ModuleList, networks[task])


def initialise(network: nn.Module, *, uniform: bool = False) -> None:
    """Xavier's initial weights, normal or uniform, and zero biases, for all convolutions."""
    draw = nn.init.xavier_uniform_ if uniform else nn.init.xavier_normal_
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            draw(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
