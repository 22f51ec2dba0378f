"""ResNets whose last two stages keep a stride of 8 and dilate their convolutions instead.

As in the code of MTI-Net (and the DeepLab family): in `layer3` the 3x3 convolutions have dilation 2, in
`layer4` 4, but for the first one of each, which has the dilation of the stage before.
"""

from typing import ClassVar

from mtlbench.backbones.timm_features import TimmFeatures
from mtlbench.backbones.weights import timm_model, with_weights
from mtlbench.published import Rule


class DilatedResNet(TimmFeatures):
    """timm's ResNet with output stride 8; its names of parameters are torchvision's."""

    strides: ClassVar[tuple[int, ...]] = (4, 8, 8, 8)
    published_keys: ClassVar[tuple[Rule, ...]] = TimmFeatures.timm_keys


def resnet18_dilated(*, weights: str = "none") -> DilatedResNet:
    """ResNet-18 with strides 4, 8, 8, 8, 11 million parameters."""
    return _dilated("resnet18", weights)


def resnet50_dilated(*, weights: str = "none") -> DilatedResNet:
    """ResNet-50 with strides 4, 8, 8, 8, 24 million parameters."""
    return _dilated("resnet50", weights)


def _dilated(name: str, weights: str) -> DilatedResNet:
    options = {"output_stride": DilatedResNet.strides[-1], "zero_init_last": False}  # torchvision's start
    trunk = timm_model(name, weights, features_only=True, out_indices=(1, 2, 3, 4), **options)
    return with_weights(DilatedResNet(trunk), weights, trunk)
