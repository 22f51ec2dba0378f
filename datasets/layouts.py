"""Rooms written as other data sets lay out their files: fixtures, and stand-ins of full size."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from mtlbench.errors import MtlbenchError
from mtlbench.registry import unknown

from .files import parse_size
from .layout_files import Layout, save
from .layout_nyud import write_nyud
from .layout_nyuv2_mtan import write_nyuv2_mtan
from .layout_pascal import write_pascal_context
from .layout_streets import write_cityscapes, write_cityscapes_mtan
from .rooms import Rooms

__all__ = [
    "LAYOUTS",
    "make_rooms",
    "save",
    "write_cityscapes",
    "write_cityscapes_mtan",
    "write_nyud",
    "write_nyuv2_mtan",
    "write_pascal_context",
]

LAYOUTS: Mapping[str, tuple[Layout, str]] = {
    "nyud": (write_nyud, "425x560"),
    "nyud_mt": (partial(write_nyud, flavour="NYUD_MT"), "425x560"),
    "pascal_context": (write_pascal_context, "375x500"),
    "cityscapes": (write_cityscapes, "1024x2048"),
    "nyuv2_mtan": (write_nyuv2_mtan, "288x384"),
    "cityscapes_mtan": (write_cityscapes_mtan, "128x256"),
}
"""Layouts by name: what writes them, and their usual size."""


def make_rooms(
    *,
    root: str = "data/rooms",
    train: int = 1000,
    val: int = 200,
    size: str | None = None,
    seed: int = 0,
    layout: str | None = None,
) -> None:
    """What `mtlbench data make rooms` does: the arrays of `Rooms`, or another data set's files.

    Args:
        root: folder to write to; for a layout it must be empty or absent.
        train: number of training scenes.
        val: number of validation scenes.
        size: "HEIGHTxWIDTH"; None is 96x128, or the layout's own size.
        seed: of the scenes.
        layout: a name in `LAYOUTS`, or None for the arrays that `Rooms` reads.
    """
    if layout is None:
        Rooms.prepare(root=root, train=train, val=val, size=size or "96x128", seed=seed)
        return
    if layout not in LAYOUTS:
        raise MtlbenchError(unknown("layout", layout, tuple(LAYOUTS)))
    write, usual = LAYOUTS[layout]
    write(Path(root), train=train, val=val, size=parse_size(size or usual), seed=seed)
