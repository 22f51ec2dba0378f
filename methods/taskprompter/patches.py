"""Images whose sides are no multiples of a patch's."""

from torch import Tensor

from mtlbench.backbones.base import pad_to_multiple
from mtlbench.errors import MtlbenchError

from .channels import Size

CUT = "fixed_size"
"""The quirk with which the rest is cut off; else it is filled up."""


def whole_patches(images: Tensor, patch: int, quirks: frozenset[str]) -> Tensor:
    """Images (B, 3, H, W) -> (B, 3, H', W'), both multiples of `patch`."""
    if CUT not in quirks:
        return pad_to_multiple(images, patch)
    height, width = images.shape[-2:]
    return images[..., : height - height % patch, : width - width % patch]


def count_patches(size: Size, patch: int, quirks: frozenset[str]) -> Size:
    """Rows and columns of patches in images of (height, width).

    Raises:
        MtlbenchError: there is none.
    """
    if CUT not in quirks:
        return -(-size[0] // patch), -(-size[1] // patch)
    if min(size) < patch:
        raise MtlbenchError(
            f"`input_size` of taskprompter must be at least {patch}x{patch} with the quirk `{CUT}`, got "
            f"{size[0]}x{size[1]}"
        )
    return size[0] // patch, size[1] // patch
