"""Random materials of a kind of thing."""

import colorsys

from .builder import Builder, Material, Vector
from .draw import Draw
from .vocabulary import CHECKS, CLOUDY, PLAIN, PLANKS, STRIPES, TILES, WOOD


def colour(draw: Draw, *, saturation: float = 0.6, low: float = 0.15, high: float = 0.9) -> Vector:
    """Any hue; saturation up to the given one, value between low and high; squared to linear light."""
    red, green, blue = colorsys.hsv_to_rgb(draw.random(), saturation * draw.random(), draw.uniform(low, high))
    return red * red, green * green, blue * blue


def _timber(draw: Draw) -> tuple[Vector, Vector]:
    hue, value = draw.uniform(0.04, 0.11), draw.uniform(0.25, 0.85)
    light = colorsys.hsv_to_rgb(hue, draw.uniform(0.25, 0.6), value)
    first = (light[0] ** 2, light[1] ** 2, light[2] ** 2)
    shade = draw.uniform(0.35, 0.7)
    return first, (first[0] * shade, first[1] * shade, first[2] * shade)


def _seed(draw: Draw) -> float:
    return float(draw.integer(0, 1 << 20))


def wood(build: Builder, draw: Draw) -> int:
    """Furniture wood, or paint in a third of the cases."""
    if draw.chance(0.35):
        paint = colour(draw)
        return build.material(Material(PLAIN, 2.0, paint, colour(draw, low=0.3), gloss=draw.uniform(0, 0.3)))
    first, second = _timber(draw)
    return build.material(
        Material(WOOD, draw.uniform(2, 6), first, second, gloss=draw.uniform(0, 0.4), offset=_seed(draw))
    )


def fabric(build: Builder, draw: Draw, *, saturation: float = 0.75) -> int:
    """Upholstery, blankets and clothes."""
    kind = draw.choice((PLAIN, PLAIN, CLOUDY, STRIPES, CHECKS))
    scale = draw.uniform(4, 14)
    first, second = colour(draw, saturation=saturation), colour(draw, saturation=saturation)
    return build.material(Material(kind, scale, first, second, offset=_seed(draw)))


def metal(build: Builder, draw: Draw) -> int:
    """Grey or brass, glossy."""
    grey = draw.uniform(0.05, 0.6)
    tint = (grey, grey * draw.uniform(0.75, 1), grey * draw.uniform(0.55, 1))
    return build.material(Material(PLAIN, 1.0, tint, tint, gloss=0.8))


def plain(build: Builder, first: Vector, *, gloss: float = 0.0, emission: float = 0.0) -> int:
    """One colour with faint mottling."""
    second = (first[0] * 0.7, first[1] * 0.7, first[2] * 0.7)
    return build.material(Material(PLAIN, 5.0, first, second, gloss=gloss, emission=emission))


def room_faces(build: Builder, draw: Draw) -> None:
    """Rows 0 to 5: floor, ceiling, four walls, of which one may be papered otherwise."""
    build.material(_floor(draw))
    white = colour(draw, saturation=0.12, low=0.75, high=0.98)
    build.material(
        Material(PLAIN, 1.0, white, (white[0] * 0.8, white[1] * 0.8, white[2] * 0.8), offset=_seed(draw))
    )
    wall = _wall(draw)
    accent = _wall(draw) if draw.chance(0.3) else wall
    odd = draw.integer(0, 3)
    for side in range(4):
        build.material(accent if side == odd else wall)


def _floor(draw: Draw) -> Material:
    kind = draw.choice((PLANKS, PLANKS, TILES, CLOUDY, CHECKS, PLAIN))
    gloss = draw.uniform(0, 0.35)
    if kind == PLANKS:
        first, second = _timber(draw)
        return Material(kind, draw.uniform(4, 9), first, second, gloss=gloss, offset=_seed(draw))
    scale = draw.uniform(1.5, 4) if kind == TILES else draw.uniform(3, 10)
    first, second = colour(draw, saturation=0.5), colour(draw, saturation=0.5)
    return Material(kind, scale, first, second, gloss=gloss if kind == TILES else 0.0, offset=_seed(draw))


def _wall(draw: Draw) -> Material:
    kind = draw.choice((PLAIN, PLAIN, PLAIN, CLOUDY, STRIPES, TILES))
    first = colour(draw, saturation=0.45, low=0.45, high=0.97)
    change = draw.uniform(0.6, 0.95)
    second = (first[0] * change, first[1] * change, first[2] * draw.uniform(0.6, 0.95))
    return Material(kind, draw.uniform(1, 5), first, second, offset=_seed(draw))
