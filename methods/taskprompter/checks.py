"""Options of TaskPrompter that can't be built are refused by name."""

import math
from collections.abc import Sequence

from mtlbench.errors import MtlbenchError

LARGEST = 4096
"""Side of an image, in pixels."""


def check_sizes(input_size: tuple[int, int], image_scale: float) -> None:
    """Raise MtlbenchError for what is no size of an image, naming the option."""
    for name, value in zip(("height", "width"), input_size, strict=True):
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= LARGEST:
            raise MtlbenchError(
                "`input_size` of taskprompter must be a height and a width from 1 to "
                f"{LARGEST}, got {value!r} for the {name}"
            )
    if not 0 < image_scale <= 4:
        raise MtlbenchError(f"`image_scale` of taskprompter must be in (0, 4], got {image_scale!r}")


def check_squares(heads: int, dim: int | None) -> None:
    """Raise MtlbenchError where windows don't form a square, or a square of a Swin's `channel_dim`."""
    side = math.isqrt(heads)
    if side**2 != heads:
        raise MtlbenchError(f"`channel_heads` of taskprompter must be a square number, got {heads}")
    if dim is not None and (math.isqrt(dim) ** 2 != dim or math.isqrt(dim) % side):
        raise MtlbenchError(
            "`channel_dim` of taskprompter must be a square number, its root a multiple of that of "
            f"`channel_heads`, got {dim} with {heads} heads"
        )


def check_reweight(reweight: bool, length: int, *, plain: bool) -> None:
    """Raise MtlbenchError where prompts have no one product with each other for a pair of tasks."""
    if reweight and not plain:
        raise MtlbenchError(
            "`reweight` of taskprompter needs a plain ViT: in each window of a Swin prompts find something "
            "else in each other"
        )
    if reweight and length != 1:
        raise MtlbenchError(f"`reweight` of taskprompter needs `prompt_length` 1, got {length}")


def check_groups(widths: Sequence[tuple[int, int]], length: int) -> None:
    """Raise MtlbenchError where the channels of a level can't be shared by heads and prompts."""
    for channels, heads in widths:
        if channels % (heads * length):
            raise MtlbenchError(
                "`prompt_length` of taskprompter times the attention's heads must divide the backbone's "
                f"{channels} channels, got {length} times {heads}"
            )
