"""What several published networks do alike."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import deform_conv2d

from mtlbench.model import Method, Outputs

Size = tuple[int, int]


class NaiveForm(nn.Module):
    """Computes what a network computes, with its parameters, as the published code does."""

    parts: ClassVar[tuple[str, ...]] = ("whole", "head")
    """What can be timed: the head by itself only where it takes a backbone's features."""
    backbone: ClassVar[str | None] = None
    """The backbone that is timed where the method needs one of some kind, `-` where it takes none."""
    network: Any

    def __init__(self, network: Method) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Outputs:
        """Normalised images (B, 3, H, W) -> predictions at (H, W)."""
        height, width = images.shape[-2:]
        return self.decode(self.network.backbone(images), (height, width))

    def decode(self, features: list[Tensor], size: Size) -> Outputs:
        """Features (B, C_i, h_i, w_i) -> predictions (B, K_t, *size)."""
        raise NotImplementedError

    def predict(self, task: str, x: Tensor, size: Size) -> Tensor:
        """A task's last layers, where they are a 3x3 convolution with batch norm, and logits."""
        x = conv_bn_relu(self.network.bottleneck[task], x)
        return resized(self.network.final_logits[task](x), size)


def resized(x: Tensor, size: Size) -> Tensor:
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)


def concatenated(features: Sequence[Tensor]) -> Tensor:
    """All levels at the size of the finest: (B, sum of C_i, h_0, w_0)."""
    height, width = features[0].shape[-2:]
    return torch.cat([features[0], *(resized(x, (height, width)) for x in features[1:])], dim=1)


def convolved(layer: Any, x: Tensor) -> Tensor:
    """Convolution and nothing else, whatever class the layer has."""
    return F.conv2d(x, layer.weight, layer.bias, layer.stride, layer.padding, layer.dilation)


def conv_bn_relu(layer: Any, x: Tensor) -> Tensor:
    return F.relu(layer.bn(convolved(layer.conv, x)))


def tokens_of(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, H W, C)."""
    return x.flatten(2).transpose(1, 2)


def map_of(tokens: Tensor, size: Size) -> Tensor:
    """(B, H W, C) -> (B, C, *size)."""
    return tokens.transpose(1, 2).reshape(len(tokens), -1, *size)


def attend(q: Tensor, k: Tensor, v: Tensor, scale: float, *, softmax: bool = True) -> Tensor:
    """By the matrix of all weights: (..., N, d), (..., M, d), (..., M, d) -> (..., N, d)."""
    weights = q @ k.transpose(-1, -2) * scale  # (..., N, M)
    if softmax:
        weights = weights.softmax(dim=-1)
    return weights @ v


def any_attention(layer: Any, q: Tensor, k: Tensor, v: Tensor, *, softmax: bool = True) -> Tensor:
    """`AnyAttention`: LayerNorm and projection of each, attention, projection; (B, N, C), (B, M, C) twice."""

    def split(x: Tensor) -> Tensor:
        return x.unflatten(2, (layer.heads, -1)).transpose(1, 2)  # (B, heads, N, d)

    q, k, v = (
        split(to(norm(x)))
        for to, norm, x in (
            (layer.to_q, layer.norm_q, q),
            (layer.to_k, layer.norm_k, k),
            (layer.to_v, layer.norm_v, v),
        )
    )
    attended = attend(q, k, v, q.shape[-1] ** -0.5, softmax=softmax)
    projected: Tensor = layer.proj(attended.transpose(1, 2).flatten(2))
    return projected


def deformable_mixer(block: Any, x: Tensor) -> Tensor:
    """Channels are mixed, then places: (B, C, H, W) -> the same shape."""
    x = block.norm(F.gelu(block.pointwise(x)))
    field, mix = block.deformable.offsets, block.deformable.mix
    offsets = field.expand(field.shift(x) + window_of(x))  # (B, 2 C, H, W)
    return x + block.deformable_norm(F.gelu(deform_conv2d(x, offsets, mix.weight, mix.bias)))


def window_of(x: Tensor) -> Tensor:
    """Row, then column numbers, from 1, of the 3x3 positions around each pixel: (1, 18, H, W)."""
    height, width = x.shape[-2:]
    steps = torch.arange(-1, 2, device=x.device)
    steps_down, steps_right = torch.meshgrid(steps, steps, indexing="ij")
    rows, columns = torch.meshgrid(
        torch.arange(1, height + 1, device=x.device),
        torch.arange(1, width + 1, device=x.device),
        indexing="ij",
    )
    rows = rows + steps_down.reshape(9, 1, 1)
    columns = columns + steps_right.reshape(9, 1, 1)
    return torch.cat([rows, columns])[None].to(x.dtype)


def distilled(distillation: Any, found: Mapping[str, Tensor], target: str) -> Tensor:
    """The target's features (B, C, H, W) with the messages of all others, two convolutions for each."""
    total = found[target]
    for source, x in found.items():
        if source != target:
            convolutions = distillation[target].messages[source]
            total = total + convolutions.message(x) * torch.sigmoid(convolutions.gate(x))
    return total


def fused(layers: Any, x: Tensor) -> Tensor:
    """A fuse layer: convolution, batch norm, ReLU."""
    convolution, norm, relu = layers
    return relu(norm(convolved(convolution, x)))
