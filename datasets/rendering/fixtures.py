"""Things that hang on a wall or from the ceiling; local frame: x along the wall, +y into the room, z up."""

import math

from . import palette
from .builder import Builder, Frame, Material, Vector
from .draw import Draw
from .vocabulary import OUTDOORS, PAINTING, Semantic


def _border(
    build: Builder, centre: Vector, size: tuple[float, float], thick: float, deep: float, material: int
) -> None:
    """Four bars around an opening of `size` (width, height)."""
    x, y, z = centre
    width, height = size
    for side in (-1, 1):
        build.box((x + side * (width - thick) / 2, y, z), (thick, deep, height), material)
        build.box((x, y, z + side * (height - thick) / 2), (width - 2 * thick, deep, thick), material)


def door(build: Builder, draw: Draw, frame: Frame, width: float) -> None:
    """Leaf with panels, frame and handle."""
    build.begin(Semantic.DOOR, frame)
    wood, height = palette.wood(build, draw), draw.uniform(1.95, 2.15)
    trim = palette.wood(build, draw) if draw.chance(0.4) else wood
    build.box((0, 0.02, height / 2), (width - 0.1, 0.04, height), wood)
    _border(build, (0, 0.03, height / 2), (width, height + 0.04), 0.07, 0.06, trim)
    rows = draw.integer(0, 3)
    for k in range(rows):
        z = (k + 0.5) * (height - 0.2) / rows + 0.1
        build.box((0, 0.045, z), (width * 0.6, 0.02, height / rows * 0.7), wood)
    build.capsule(
        (width * 0.33, 0.08, 1.02), (width * 0.33 - 0.1, 0.08, 1.02), 0.014, palette.metal(build, draw)
    )


def window(build: Builder, draw: Draw, frame: Frame, width: float, daylight: float) -> None:
    """A pane that shows the outdoors, frame and bars, and the light that falls in."""
    build.begin(Semantic.WINDOW, frame)
    height, low = draw.uniform(0.9, 1.4), draw.uniform(0.6, 1.0)
    sky = (0.35 * daylight, 0.55 * daylight, 0.95 * daylight)
    land = palette.colour(draw, low=0.2, high=0.7)
    view = Material(OUTDOORS, draw.uniform(0.8, 2), sky, land, emission=1.0, offset=draw.integer(0, 1 << 20))
    middle = low + height / 2
    build.box((0, 0.01, middle), (width - 0.06, 0.02, height - 0.06), build.material(view))
    wood = palette.wood(build, draw)
    _border(build, (0, 0.025, middle), (width, height), 0.06, 0.05, wood)
    if draw.chance(0.7):
        build.box((0, 0.02, middle), (0.04, 0.03, height), wood)
    if draw.chance(0.5):
        build.box((0, 0.02, middle), (width, 0.03, 0.04), wood)
    build.light((0, 0.5, middle), (1.0 * daylight, 1.1 * daylight, 1.3 * daylight))


def picture(build: Builder, draw: Draw, frame: Frame, width: float) -> None:
    """A framed painting."""
    build.begin(Semantic.PICTURE, frame)
    height, middle = width * draw.uniform(0.6, 1.4), draw.uniform(1.35, 1.75)
    first, second = palette.colour(draw, saturation=1.0), palette.colour(draw, saturation=1.0)
    canvas = Material(PAINTING, draw.uniform(3, 9), first, second, offset=draw.integer(0, 1 << 20))
    build.box((0, 0.012, middle), (width - 0.03, 0.02, height - 0.03), build.material(canvas))
    _border(
        build, (0, 0.02, middle), (width, height), draw.uniform(0.02, 0.06), 0.04, palette.wood(build, draw)
    )


def pillar(build: Builder, draw: Draw, frame: Frame, width: float, height: float) -> None:
    """A part of the wall that stands out."""
    build.begin(Semantic.WALL, frame)
    deep = draw.uniform(0.2, 0.5)
    build.box((0, deep / 2, height / 2), (width, deep, height), 2 + draw.integer(0, 3))


def ceiling_light(build: Builder, draw: Draw, x: float, y: float, height: float, power: float) -> None:
    """A pendant or a flat disc; its light whether or not it is on."""
    frame = Frame(x, y, draw.uniform(0, math.pi))
    build.begin(Semantic.LAMP, frame)
    warm = (1.0, draw.uniform(0.8, 0.98), draw.uniform(0.6, 0.95))
    shade = palette.plain(build, warm, emission=0.95 if power > 0.3 else 0.2)
    radius = draw.uniform(0.12, 0.26)
    low = height - draw.uniform(0.3, 0.8) if draw.chance(0.5) else height - 0.1
    if low < height - 0.2:
        build.cone((0, 0, low), height - low, 0.01, palette.metal(build, draw), casts=False)
    if draw.chance(0.4):
        build.ellipsoid((0, 0, low), (radius, radius, radius * 0.7), shade, casts=False)
    else:
        build.cone(
            (0, 0, low), 0.1 + 0.3 * radius, radius, shade, top=radius * draw.uniform(0.3, 1), casts=False
        )
    build.light((0, 0, low - 0.05), (warm[0] * power, warm[1] * power, warm[2] * power))
