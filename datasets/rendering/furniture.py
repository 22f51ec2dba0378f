"""Things that stand on the floor, a few solids each; local frame: x along the front, +y forward, z up."""

from dataclasses import dataclass

from . import palette
from .builder import Builder, Frame, Material
from .draw import Draw
from .vocabulary import PAINTING, Semantic


@dataclass(frozen=True)
class Footprint:
    """Extent on the floor: `width` along local x, `depth` along local y, metres."""

    width: float
    depth: float


def _legs(
    build: Builder,
    size: tuple[float, float, float],
    thick: float,
    material: int,
    *,
    round_: bool,
    y: float = 0.0,
) -> None:
    for sx in (-1, 1):
        for sy in (-1, 1):
            x, dy = sx * (size[0] / 2 - thick), y + sy * (size[1] / 2 - thick)
            if round_:
                build.cone((x, dy, 0), size[2], thick * 0.35, material, top=thick * 0.6)
            else:
                build.box((x, dy, size[2] / 2), (thick, thick, size[2]), material)


def table(build: Builder, draw: Draw, frame: Frame, area: Footprint) -> None:
    """Four legs or one pillar under a square or round top."""
    build.begin(Semantic.TABLE, frame)
    top, height, thick = palette.wood(build, draw), draw.uniform(0.42, 0.78), draw.uniform(0.025, 0.06)
    leg = palette.metal(build, draw) if draw.chance(0.3) else top
    if draw.chance(0.35):
        radius = min(area.width, area.depth) / 2
        build.cone((0, 0, height - thick), thick, radius, top)
        build.cone((0, 0, 0), height - thick, 0.05, leg)
        build.cone((0, 0, 0), 0.04, radius * 0.55, leg)
        return
    build.box((0, 0, height - thick / 2), (area.width, area.depth, thick), top)
    size = (area.width, area.depth, height - thick)
    _legs(build, size, draw.uniform(0.04, 0.09), leg, round_=draw.chance(0.5))


def chair(build: Builder, draw: Draw, frame: Frame, area: Footprint) -> None:
    """Seat, legs and a slatted or closed back."""
    build.begin(Semantic.CHAIR, frame)
    wood, seat = palette.wood(build, draw), draw.uniform(0.42, 0.5)
    cover = palette.fabric(build, draw) if draw.chance(0.5) else wood
    width, depth = area.width, area.depth
    build.box((0, 0, seat - 0.025), (width, depth, 0.05), cover)
    _legs(build, (width, depth, seat - 0.05), draw.uniform(0.03, 0.05), wood, round_=draw.chance(0.4))
    rise, y = draw.uniform(0.35, 0.6), -depth / 2 + 0.02
    if draw.chance(0.5):
        build.box((0, y, seat + rise / 2 + 0.05), (width, 0.04, rise), cover)
        return
    for x in (-width / 2 + 0.02, width / 2 - 0.02):
        build.box((x, y, seat + rise / 2), (0.035, 0.035, rise), wood)
    for k in range(draw.integer(2, 3)):
        build.box((0, y, seat + rise * (0.35 + 0.27 * k)), (width, 0.02, 0.07), wood)


def sofa(build: Builder, draw: Draw, frame: Frame, area: Footprint) -> None:
    """Base, back, arms and cushions."""
    build.begin(Semantic.SOFA, frame)
    cover = palette.fabric(build, draw)
    seat, back, arm = draw.uniform(0.36, 0.46), draw.uniform(0.7, 0.95), draw.uniform(0.12, 0.22)
    width, depth = area.width, area.depth
    inner = width - 2 * arm
    build.box((0, 0, seat / 2), (width, depth, seat), cover)
    build.box((0, -depth / 2 + 0.1, (seat + back) / 2), (inner, 0.2, back - seat), cover)
    for side in (-1, 1):
        high = seat + draw.uniform(0.1, 0.25)
        build.box((side * (width - arm) / 2, 0, high / 2), (arm, depth, high), cover)
    count = max(1, round(inner / 0.7))
    for k in range(count):
        x = (k + 0.5) / count * inner - inner / 2
        build.box((x, 0.09, seat + 0.06), (inner / count - 0.02, depth - 0.22, 0.12), cover)
    pillow = palette.fabric(build, draw)
    for _ in range(draw.integer(0, 2)):
        build.ellipsoid(
            (draw.uniform(-0.4, 0.4) * inner, -depth / 2 + 0.3, seat + 0.28), (0.22, 0.1, 0.17), pillow
        )


def bed(build: Builder, draw: Draw, frame: Frame, area: Footprint) -> None:
    """Frame, mattress, blanket, pillows; the head at the back."""
    build.begin(Semantic.BED, frame)
    wood, sheet, blanket = (
        palette.wood(build, draw),
        palette.fabric(build, draw, saturation=0.2),
        palette.fabric(build, draw),
    )
    width, depth, top = area.width, area.depth, draw.uniform(0.4, 0.6)
    build.box((0, 0, top * 0.3), (width, depth, top * 0.6), wood)
    build.box((0, 0.03, top * 0.8), (width - 0.06, depth - 0.1, top * 0.4), sheet)
    cover = depth * draw.uniform(0.5, 0.72)
    build.box((0, (depth - cover) / 2 - 0.01, top + 0.01), (width + 0.02, cover, 0.07), blanket)
    board = draw.uniform(0.75, 1.15)
    build.box((0, -depth / 2 + 0.03, board / 2), (width, 0.06, board), wood)
    for x in (-width / 4, width / 4) if width > 1.2 else (0.0,):
        build.ellipsoid((x, -depth / 2 + 0.32, top + 0.06), (0.3, 0.2, 0.1), sheet)


def cabinet(build: Builder, draw: Draw, frame: Frame, area: Footprint) -> None:
    """A chest with fronts and knobs, or an open shelf with books."""
    build.begin(Semantic.CABINET, frame)
    wood = palette.wood(build, draw)
    height = draw.uniform(0.6, 1.2) if draw.chance(0.45) else draw.uniform(1.5, 2.15)
    if draw.chance(0.5):
        _chest(build, draw, (area.width, area.depth, height), wood)
    else:
        _shelf(build, draw, (area.width, area.depth, height), wood)


def _chest(build: Builder, draw: Draw, size: tuple[float, float, float], wood: int) -> None:
    width, depth, height = size
    front, knob = palette.wood(build, draw) if draw.chance(0.4) else wood, palette.metal(build, draw)
    build.box((0, 0, height / 2), size, wood)
    columns, rows = max(1, round(width / 0.55)), max(1, round(height / draw.uniform(0.3, 0.9)))
    w, h = width / columns, (height - 0.08) / rows
    for a in range(columns):
        for b in range(rows):
            x, z = (a + 0.5) * w - width / 2, 0.06 + (b + 0.5) * h
            build.box((x, depth / 2, z), (w - 0.03, 0.03, h - 0.03), front)
            build.ellipsoid((x + w * 0.3, depth / 2 + 0.03, z), (0.02, 0.02, 0.02), knob)


def _shelf(build: Builder, draw: Draw, size: tuple[float, float, float], wood: int) -> None:
    width, depth, height = size
    build.box((0, -depth / 2 + 0.01, height / 2), (width, 0.02, height), wood)
    for side in (-1, 1):
        build.box((side * (width / 2 - 0.015), 0, height / 2), (0.03, depth, height), wood)
    floors = max(2, round(height / 0.38))
    step = (height - 0.03) / floors
    for k in range(floors + 1):
        build.box((0, 0, 0.015 + k * step), (width - 0.06, depth, 0.03), wood)
    first, second = palette.colour(draw, saturation=1.0), palette.colour(draw, saturation=1.0)
    books = build.material(Material(PAINTING, 16.0, first, second, offset=draw.integer(0, 1 << 20)))
    for k in range(floors):
        if draw.chance(0.65):
            span, high = draw.uniform(0.2, 0.9) * (width - 0.1), draw.uniform(0.4, 0.8) * step
            x = draw.uniform(-0.5, 0.5) * (width - 0.1 - span)
            build.box((x, -0.03, 0.03 + k * step + high / 2), (span, depth * 0.65, high), books)


def floor_lamp(build: Builder, draw: Draw, frame: Frame, area: Footprint) -> None:
    """A pole with a shade that shines."""
    build.begin(Semantic.LAMP, frame)
    pole, height = palette.metal(build, draw), draw.uniform(1.2, 1.75)
    radius = area.width / 2
    warm = (draw.uniform(0.9, 1.1), draw.uniform(0.7, 0.9), draw.uniform(0.4, 0.7))
    shade = palette.plain(build, warm, emission=draw.uniform(0.5, 1.0))
    build.cone((0, 0, 0), 0.03, radius * 0.8, pole)
    build.cone((0, 0, 0), height - 0.05, 0.015, pole, casts=False)
    low = height - draw.uniform(0.2, 0.35)
    if draw.chance(0.25):
        build.ellipsoid((0, 0, height), (radius, radius, radius), shade, casts=False)
    else:
        build.cone(
            (0, 0, low), height - low, radius, shade, top=radius * draw.uniform(0.5, 0.95), casts=False
        )
    power = draw.uniform(0.2, 0.7)
    build.light((0, 0, height - 0.1), (warm[0] * power, warm[1] * power, warm[2] * power))
