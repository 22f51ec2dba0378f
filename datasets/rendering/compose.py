"""Draws a furnished room with a camera in it."""

import math

from . import fixtures, furniture, palette
from .builder import Builder, Frame, Scene, Vector
from .draw import Draw
from .floorplan import FloorPlan
from .furniture import Footprint
from .people import person


def compose(key: tuple[int, ...], aspect: float) -> Scene:
    """The scene of a key.

    Args:
        key: non-negative integers, (seed, stream, index).
        aspect: width over height of the picture.
    """
    draw = Draw(key)
    room = (draw.uniform(3.2, 6.5), draw.uniform(3.2, 7.0), draw.uniform(2.35, 3.1))
    build, plan = Builder(room), FloorPlan(room)
    palette.room_faces(build, draw)
    camera = _camera(draw, room, aspect)
    plan.block(camera[0], camera[1], 0.65)
    daylight, lamplight = _light(draw)
    fixtures.ceiling_light(
        build, draw, room[0] * draw.uniform(0.3, 0.7), room[1] * draw.uniform(0.3, 0.7), room[2], lamplight
    )
    _hang(build, draw, plan, daylight)
    _people(build, draw, plan, camera)
    _furnish(build, draw, plan)
    ambient = 0.16 * (daylight + lamplight)
    tint = draw.uniform(0.85, 1.15)
    look = (
        ambient * tint,
        ambient,
        ambient / tint,
        draw.uniform(0.13, 0.38),
        draw.uniform(0, 0.5),
        draw.uniform(0.003, 0.03),
    )
    return build.finish(camera, look, draw.integer(0, 1 << 30))


def _light(draw: Draw) -> tuple[float, float]:
    """Power of daylight and of the ceiling light: by day, by night, or mixed."""
    if draw.chance(0.3):
        return draw.uniform(0.05, 0.15), draw.uniform(1.3, 2.2)
    return draw.uniform(0.5, 1.1), draw.uniform(0.3, 1.6)


def _camera(draw: Draw, room: Vector, aspect: float) -> tuple[float, ...]:
    """A person's view from somewhere near a wall across the room."""
    x, y = draw.uniform(0.06, 0.3), draw.uniform(0.06, 0.5)
    if draw.chance(0.5):
        x, y = y, x
    x, y = (1 - x if draw.chance(0.5) else x), (1 - y if draw.chance(0.5) else y)
    at = (
        max(0.3, min(x * room[0], room[0] - 0.3)),
        max(0.3, min(y * room[1], room[1] - 0.3)),
        draw.uniform(1.05, 1.8),
    )
    target = (room[0] * draw.uniform(0.35, 0.65), room[1] * draw.uniform(0.35, 0.65), draw.uniform(0.45, 1.5))
    dx, dy = target[0] - at[0], target[1] - at[1]
    yaw, pitch, roll = (
        math.atan2(dy, dx),
        math.atan2(target[2] - at[2], math.hypot(dx, dy)),
        draw.uniform(-0.05, 0.05),
    )
    pitch = max(-0.6, min(0.15, pitch))
    cy, sy, cp, sp, cr, sr = (
        math.cos(yaw),
        math.sin(yaw),
        math.cos(pitch),
        math.sin(pitch),
        math.cos(roll),
        math.sin(roll),
    )
    forward, side, above = (cy * cp, sy * cp, sp), (sy, -cy, 0.0), (-cy * sp, -sy * sp, cp)
    right = tuple(cr * a + sr * b for a, b in zip(side, above, strict=True))
    up = tuple(cr * b - sr * a for a, b in zip(side, above, strict=True))
    half = math.tan(math.radians(draw.uniform(52, 78)) / 2)
    return (*at, *right, *up, *forward, half, half / aspect)


def _hang(build: Builder, draw: Draw, plan: FloorPlan, daylight: float) -> None:
    """Doors, windows, pictures and pillars."""
    for _ in range(draw.integer(1, 2)):
        width = draw.uniform(0.8, 1.0)
        if (frame := plan.hang(draw, width)) is not None:
            fixtures.door(build, draw, frame, width)
            plan.block(*frame.point(0, 0.3, 0)[:2], 0.35)
    for k in range(draw.integer(1, 2)):
        width = draw.uniform(0.9, 2.0)
        if (frame := plan.hang(draw, width)) is not None:
            fixtures.window(build, draw, frame, width, daylight / (1 + k))
    for _ in range(draw.integer(1, 4)):
        width = draw.uniform(0.35, 1.0)
        if (frame := plan.hang(draw, width)) is not None:
            fixtures.picture(build, draw, frame, width)
    if draw.chance(0.25):
        width = draw.uniform(0.4, 1.2)
        if (frame := plan.hang(draw, width)) is not None and plan.claim(frame, Footprint(0.01, 0.01)):
            fixtures.pillar(build, draw, frame, width, plan.room[2])


def _people(build: Builder, draw: Draw, plan: FloorPlan, camera: tuple[float, ...]) -> None:
    """Up to three figures in front of the camera, the first one near; one scene in eight has none."""
    count = draw.choice((0, 1, 1, 1, 1, 2, 2, 3))
    for k in range(count):
        for _ in range(6):
            near = k == 0
            distance = draw.uniform(1.0, 2.0) if near else draw.uniform(1.3, 4.5)
            aside = (draw.uniform(-0.5, 0.5) if near else draw.uniform(-0.8, 0.8)) * camera[12]
            x = camera[0] + distance * (camera[9] + aside * camera[3])
            y = camera[1] + distance * (camera[10] + aside * camera[4])
            frame = Frame(x, y, draw.uniform(-math.pi, math.pi))
            sitting = draw.chance(0.35)
            if plan.claim(frame, Footprint(0.55, 0.55 if not sitting else 0.7)):
                if sitting:
                    furniture.chair(
                        build, draw, Frame(*frame.point(0, -0.05, 0)[:2], frame.yaw), Footprint(0.45, 0.45)
                    )
                person(build, draw, frame, sitting=sitting)
                break


def _furnish(build: Builder, draw: Draw, plan: FloorPlan) -> None:
    """Pieces along the walls, a table with chairs, lamps and odd chairs."""
    if draw.chance(0.5):
        area = Footprint(draw.choice((0.9, 1.4, 1.8)), draw.uniform(1.9, 2.1))
        if (frame := plan.against_wall(draw, area)) is not None:
            furniture.bed(build, draw, frame, area)
    for _ in range(draw.integer(0, 2)):
        area = Footprint(draw.uniform(1.3, 2.3), draw.uniform(0.8, 0.95))
        if (frame := plan.against_wall(draw, area)) is not None:
            furniture.sofa(build, draw, frame, area)
    for _ in range(draw.integer(1, 3)):
        area = Footprint(draw.uniform(0.5, 1.7), draw.uniform(0.3, 0.6))
        if (frame := plan.against_wall(draw, area)) is not None:
            furniture.cabinet(build, draw, frame, area)
    for _ in range(draw.integer(1, 2)):
        area = Footprint(draw.uniform(0.7, 1.8), draw.uniform(0.6, 1.0))
        if (frame := plan.standing(draw, area)) is not None:
            furniture.table(build, draw, frame, area)
            _seat_around(build, draw, plan, frame, area)
    for _ in range(draw.integer(0, 2)):
        area = Footprint(draw.uniform(0.28, 0.45), 0.4)
        if (frame := plan.standing(draw, area)) is not None:
            furniture.floor_lamp(build, draw, frame, area)
    for _ in range(draw.integer(0, 2)):
        area = Footprint(draw.uniform(0.38, 0.5), draw.uniform(0.38, 0.5))
        if (frame := plan.standing(draw, area)) is not None:
            furniture.chair(build, draw, frame, area)


def _seat_around(build: Builder, draw: Draw, plan: FloorPlan, table: Frame, area: Footprint) -> None:
    """Chairs that face a table from its long sides."""
    for side in (-1, 1):
        for k in range(draw.integer(0, 2)):
            seat = Footprint(draw.uniform(0.38, 0.46), draw.uniform(0.38, 0.46))
            x = (k - 0.5) * 0.5 + draw.uniform(-0.05, 0.05)
            spot = table.point(x, side * (area.depth / 2 + 0.3), 0)
            turn = math.pi if side > 0 else 0.0
            frame = Frame(spot[0], spot[1], table.yaw + turn + draw.uniform(-0.25, 0.25))
            if plan.claim(frame, seat, margin=0.0):
                furniture.chair(build, draw, frame, seat)
