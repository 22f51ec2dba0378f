"""What every backbone promises."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mtlbench.backbones.staged import Staged
from mtlbench.published import Rule

Colour = tuple[float, float, float]


class Backbone(nn.Module):
    """Images in, four feature maps out, at any input size.

    Attributes:
        channels: width of each map, fine to coarse.
        strides: (4, 8, 16, 32), for a plain ViT (16, 16, 16, 16), for a dilated ResNet (4, 8, 8, 8).
        mean, std: of the RGB images in [0, 1] that the weights expect.
        tasks: that get maps of their own, by name; none: `forward` gives one list, which serves all.
        published_keys: names in the published code -> ours.
        timm_keys: names in timm's model -> ours.
    """

    channels: list[int]
    strides: ClassVar[tuple[int, ...]] = (4, 8, 16, 32)
    mean: Colour = (0.485, 0.456, 0.406)
    std: Colour = (0.229, 0.224, 0.225)
    tasks: tuple[str, ...] = ()
    published_keys: ClassVar[tuple[Rule, ...]] = ()
    timm_keys: ClassVar[tuple[Rule, ...]] = ()
    without_weights: ClassVar[str] = r"(?!)"
    """Our entries (a pattern) that ImageNet weights need not hold: they keep their initial values."""

    def forward(self, images: Tensor) -> list[Tensor]:
        """Normalised images (B, 3, H, W) -> four maps (B, C_i, ceil(H / stride_i), ceil(W / stride_i))."""
        raise NotImplementedError

    @property
    def stage_channels(self) -> list[list[int]] | None:
        """Widths of the maps that `staged` pauses with, those after the stem first; None: it can't pause."""
        return None

    def staged(self, images: Tensor) -> Staged:
        """What `forward` does, pausing after the stem and after each stage (`mtlbench.backbones.staged`)."""
        raise NotImplementedError

    def normalise(self, images: Tensor) -> Tensor:
        """uint8 RGB images (B, 3, H, W) -> float32, as the backbone's weights expect them."""
        return normalise(images, self.mean, self.std)

    def adapt(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A state dict under our names -> with values changed where several entries belong together."""
        return dict(state)


def normalise(images: Tensor, mean: Colour, std: Colour) -> Tensor:
    """uint8 RGB (B, 3, H, W) -> (x / 255 - mean) / std, float32."""
    scale = 1 / (255 * torch.tensor(std, device=images.device).view(3, 1, 1))
    shift = -255 * torch.tensor(mean, device=images.device).view(3, 1, 1) * scale
    return images.float().mul_(scale).add_(shift)


def pad_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """(B, C, H, W) -> the same with zeros right and below, H and W the next multiples."""
    height, width = x.shape[-2:]
    return F.pad(x, (0, -width % multiple, 0, -height % multiple))
