"""A backbone by name."""

from collections.abc import Callable

import timm

from mtlbench.backbones.base import Backbone
from mtlbench.backbones.timm_features import from_timm
from mtlbench.errors import MtlbenchError
from mtlbench.registry import registry, unknown


def build_backbone(name: str, *, weights: str = "none") -> Backbone:
    """The backbone called `name`: a plugin, or a timm model with maps at strides 4 to 32.

    Args:
        name: e.g. `hrnet18`, or `convnext_tiny`.
        weights: `none`, `pretrained`, or a .safetensors or .pth file.

    Raises:
        MtlbenchError: unknown name (the nearest ones are given), or weights that can't be had or don't fit.
    """
    return registry.load("backbone", name)(weights=weights)


def timm_by_name(name: str) -> Callable[..., Backbone]:
    """What the registry makes of a name that no plugin has: timm's model of that name.

    Raises:
        MtlbenchError: timm has none; the nearest names of both are given.
    """
    if timm.is_model(name):

        def build(*, weights: str = "none") -> Backbone:
            """Features of a timm model."""
            return from_timm(name, weights=weights)

        return build
    names = registry.names("backbone")
    message = unknown("backbone", name, [*names, *timm.list_models()])
    if "did you mean" not in message:  # rather our few names than all of timm's
        message = f"{unknown('backbone', name, names)}, or the name of a timm model"
    raise MtlbenchError(message)
