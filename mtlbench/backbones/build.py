"""A backbone by name."""

import timm

from mtlbench.backbones.base import Backbone
from mtlbench.backbones.timm_features import from_timm
from mtlbench.errors import MtlbenchError
from mtlbench.registry import registry, unknown


def build_backbone(name: str, weights: str = "none") -> Backbone:
    """The plugin called `name`, else timm's model of that name.

    Args:
        name: e.g. `hrnet18`, or any timm model with maps at strides 4 to 32.
        weights: `none`, `pretrained`, or a .safetensors or .pth file.

    Raises:
        MtlbenchError: unknown name (the nearest ones are given), or weights that can't be had or don't fit.
    """
    names = registry.names("backbone")
    if name in names:
        return registry.load("backbone", name)(weights)
    if timm.is_model(name):
        return from_timm(name, weights)
    message = unknown("backbone", name, [*names, *timm.list_models()])
    if "did you mean" not in message:  # rather our few names than all of timm's
        message = f"{unknown('backbone', name, names)}, or the name of a timm model"
    raise MtlbenchError(message)
