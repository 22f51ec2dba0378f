"""Sizes of images: as text, and as a data set gives them to a network."""

from __future__ import annotations

from mtlbench.errors import MtlbenchError
from mtlbench.registry import registry
from mtlbench.spec import Choice

Size = tuple[int, int]
"""Height and width in pixels."""


def input_size(choice: Choice) -> Size:
    """(H, W) of a data set's images, without looking at its files.

    Raises:
        MtlbenchError: it can't be told.
    """
    plugin = registry.get("dataset", choice.name)
    option = plugin.options().get("size")
    given = choice.options.get("size", option.default if option else None)
    if isinstance(given, str):
        return parse_size(given)
    dataset = plugin.load()
    size = getattr(dataset, "usual_size", None) or getattr(dataset, "size", None)
    if not isinstance(size, tuple):  # a class may make a property of it
        raise MtlbenchError(f"the size of {choice.name}'s images is in its files only: give it as --size HxW")
    return size


def parse_size(text: str) -> Size:
    """Of "HEIGHTxWIDTH".

    Raises:
        MtlbenchError: it is not of that form.
    """
    height, _, width = text.partition("x")
    if not (height.isdigit() and width.isdigit() and int(height) and int(width)):
        raise MtlbenchError(f"a size must be HEIGHTxWIDTH in pixels, e.g. 425x560, got {text!r}")
    return int(height), int(width)


def size_text(size: Size | None) -> str | None:
    return None if size is None else f"{size[0]}x{size[1]}"
