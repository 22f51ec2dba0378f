"""HRNet as ATRC, DeMT and DeGMix use it: timm's layers and weights, the published exchange between scales."""

from typing import Any

from torch import Tensor, nn

from mtlbench.backbones.base import Backbone
from mtlbench.backbones.staged import Staged, unpaused
from mtlbench.backbones.weights import timm_model, with_weights
from mtlbench.resizing import resize


class HRNet(Backbone):
    """High-resolution network; its four maps are the outputs of the last stage's four branches.

    Against timm: coarse maps are upsampled bilinearly (timm: nearest) and then resized to the finer map's
        size, so that
    sizes that 32 doesn't divide work. Names of parameters are timm's, which are the published ones.
    """

    conv2: nn.Conv2d
    layer1: nn.Sequential
    transition1: nn.ModuleList

    def __init__(self, trunk: Any) -> None:
        super().__init__()
        self.channels = list(trunk.feature_info.channels())
        self.stem = ("conv1", "bn1", "act1", "conv2", "bn2", "act2")
        self.stages = (("transition1", "stage2"), ("transition2", "stage3"), ("transition3", "stage4"))
        for name in (*self.stem, "layer1", *(name for stage in self.stages for name in stage)):
            self.add_module(name, getattr(trunk, name))
        for module in self.modules():
            if isinstance(module, nn.Upsample):
                module.mode, module.align_corners = "bilinear", False

    @property
    def stage_channels(self) -> list[list[int]]:
        """Of each stage's branches: the new ones of a stage are coarser."""
        into_first: Any = self.transition1[0]
        stem, first = self.conv2.out_channels, into_first[0].in_channels
        return [[stem], [first], *(self.channels[: i + 2] for i in range(len(self.stages)))]

    def forward(self, images: Tensor) -> list[Tensor]:
        return unpaused(self.staged(images))

    def staged(self, images: Tensor) -> Staged:
        x = images
        for name in self.stem:
            x = getattr(self, name)(x)
        (x,) = yield [x]
        maps = yield [self.layer1(x)]  # one per branch, fine to coarse
        for transition, stage in self.stages:
            # a new branch starts from the coarsest map so far
            maps = [layer(maps[min(i, len(maps) - 1)]) for i, layer in enumerate(getattr(self, transition))]
            for unit in getattr(self, stage):
                maps = exchange(unit, maps)
            maps = yield maps
        return maps


def exchange(unit: Any, maps: list[Tensor]) -> list[Tensor]:
    """One of timm's `HighResolutionModule`s: every branch, then every scale summed into every other."""
    maps = [branch(x) for branch, x in zip(unit.branches, maps, strict=True)]
    fused = []
    for target, layers in zip(maps, unit.fuse_layers, strict=True):
        # upsampling by 2^k overshoots where a size was rounded up
        moved = [resize(layer(x), target.shape[-2:]) for layer, x in zip(layers, maps, strict=True)]
        fused.append(unit.fuse_act(sum(moved[1:], start=moved[0])))
    return fused


def hrnet18(*, weights: str = "none") -> HRNet:
    """HRNet-W18-small-v2, 3.9 million parameters."""
    return _hrnet("hrnet_w18_small_v2", weights)


def hrnet48(*, weights: str = "none") -> HRNet:
    """HRNet-W48, 65 million parameters."""
    return _hrnet("hrnet_w48", weights)


def _hrnet(name: str, weights: str) -> HRNet:
    trunk = timm_model(name, weights, features_only=True, feature_location="", out_indices=(1, 2, 3, 4))
    return with_weights(HRNet(trunk), weights, trunk)
