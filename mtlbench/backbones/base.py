"""What every backbone promises."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from mtlbench.published import Rule


class Backbone(nn.Module):
    """Images in, four feature maps out, at any input size.

    `channels` holds the width of each map, fine to coarse; `strides` is (4, 8, 16, 32), for a plain ViT (16,
    16, 16, 16).
    """

    channels: list[int]
    strides: ClassVar[tuple[int, ...]] = (4, 8, 16, 32)
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    published_keys: ClassVar[tuple[Rule, ...]] = ()

    def forward(self, images: Tensor) -> list[Tensor]:
        """Normalised images (B, 3, H, W) -> four maps (B, C_i, ceil(H / stride_i), ceil(W / stride_i))."""
        raise NotImplementedError

    def normalise(self, images: Tensor) -> Tensor:
        """uint8 RGB images (B, 3, H, W) -> float32, as the backbone's weights expect them."""
        return normalise(images, self.mean, self.std)


def normalise(images: Tensor, mean: tuple[float, float, float], std: tuple[float, float, float]) -> Tensor:
    """uint8 RGB (B, 3, H, W) -> (x / 255 - mean) / std, float32."""
    shift = torch.tensor(mean, device=images.device).view(3, 1, 1)
    scale = torch.tensor(std, device=images.device).view(3, 1, 1)
    return (images.float() / 255 - shift) / scale
