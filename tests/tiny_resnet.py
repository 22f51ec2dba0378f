"""A ResNet's stages, small enough for tests of what looks between their blocks."""

from torch import Tensor, nn

from mtlbench.backbones.base import Backbone

WIDTHS = [4, 8, 8, 16]


class Block(nn.Module):
    """Halves the size `stride` times, rounding up."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, 3, padding=1, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x).tanh()


class TinyResNet(Backbone):
    """Four stages of two blocks each."""

    def __init__(self, strides: tuple[int, ...] = (4, 2, 1, 1)) -> None:
        super().__init__()
        self.channels = WIDTHS
        self.trunk = nn.Module()
        for i, (a, b, stride) in enumerate(zip([3, *WIDTHS], WIDTHS, strides, strict=False), start=1):
            setattr(self.trunk, f"layer{i}", nn.Sequential(Block(a, b, stride), Block(b, b, 1)))

    def forward(self, images: Tensor) -> list[Tensor]:
        maps = [images]
        for i in range(1, 5):
            maps.append(getattr(self.trunk, f"layer{i}")(maps[-1]))
        return maps[1:]
