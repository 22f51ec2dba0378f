"""Articulated figures: limbs are capsules on random joint angles; local frame: x to the right, +y forward."""

import math
from dataclasses import dataclass

from . import palette
from .builder import Builder, Frame, Vector
from .draw import Draw
from .vocabulary import Part, Semantic


@dataclass(frozen=True)
class Clothes:
    """Materials of one figure."""

    skin: int
    hair: int
    shirt: int
    sleeve: int
    trousers: int
    shoe: int


def _dress(build: Builder, draw: Draw) -> Clothes:
    tone = draw.uniform(0.12, 0.75)
    skin = palette.plain(build, (tone, tone * draw.uniform(0.55, 0.72), tone * draw.uniform(0.4, 0.58)))
    shade = draw.uniform(0.01, 0.35)
    hair = palette.plain(
        build, (shade, shade * draw.uniform(0.6, 1), shade * draw.uniform(0.3, 0.9)), gloss=0.2
    )
    shirt = palette.fabric(build, draw, saturation=0.9)
    return Clothes(
        skin=skin,
        hair=hair,
        shirt=shirt,
        sleeve=shirt if draw.chance(0.55) else skin,
        trousers=palette.fabric(build, draw) if draw.chance(0.85) else skin,
        shoe=palette.plain(build, palette.colour(draw, low=0.1, high=0.6)),
    )


def _step(start: Vector, length: float, swing: float, splay: float) -> Vector:
    """The end of a bone that hangs down, swung forward and splayed to the right (radians)."""
    down = math.cos(swing) * math.cos(splay)
    forward = math.sin(swing) * math.cos(splay)
    return start[0] + length * math.sin(splay), start[1] + length * forward, start[2] - length * down


def person(build: Builder, draw: Draw, frame: Frame, *, sitting: bool) -> None:
    """One figure of random stature, clothes and pose, upright or seated at 0.45 m."""
    build.begin(Semantic.PERSON, frame)
    clothes, tall, stout = _dress(build, draw), draw.uniform(1.45, 1.92), draw.uniform(0.85, 1.25)
    lean = draw.uniform(-0.1, 0.35) if sitting else draw.uniform(-0.05, 0.15)
    shin, thigh = 0.245 * tall, 0.245 * tall
    hip: Vector = (0.0, 0.0, 0.45 + 0.06 * tall if sitting else 0.5 * tall)
    chest: Vector = (0.0, 0.25 * tall * math.sin(lean), hip[2] + 0.25 * tall * math.cos(lean))
    _trunk(build, draw, clothes, hip, chest, tall, stout)
    for side in (-1, 1):
        _arm(
            build, draw, clothes, (side * 0.115 * tall, chest[1], chest[2] + 0.02 * tall), side, tall, sitting
        )
        swing = draw.uniform(1.2, 1.6) if sitting else draw.uniform(-0.35, 0.45)
        bend = swing - (draw.uniform(1.1, 1.8) if sitting else draw.uniform(0, 0.5))
        joint = (side * 0.05 * tall, hip[1], hip[2])
        knee = _step(joint, thigh, swing, side * draw.uniform(0, 0.2))
        ankle = _step(knee, shin - 0.03, bend, side * draw.uniform(-0.05, 0.1))
        build.capsule(joint, knee, 0.045 * tall * stout, clothes.trousers, part=Part.UPPER_LEG)
        build.capsule(knee, ankle, 0.031 * tall * stout, clothes.trousers, part=Part.LOWER_LEG)
        toe = (ankle[0], ankle[1] + 0.09 * tall, ankle[2] - 0.015)
        build.capsule(ankle, toe, 0.026 * tall, clothes.shoe, part=Part.LOWER_LEG)


def _trunk(
    build: Builder, draw: Draw, clothes: Clothes, hip: Vector, chest: Vector, tall: float, stout: float
) -> None:
    build.capsule(hip, chest, 0.072 * tall * stout, clothes.shirt, part=Part.TORSO)
    for side in (-1, 1):
        edge = (side * 0.085 * tall, chest[1], chest[2] + 0.015 * tall)
        low = (side * 0.05 * tall, hip[1], hip[2])
        build.capsule(low, edge, 0.045 * tall * stout, clothes.shirt, part=Part.TORSO)
    neck = (chest[0], chest[1] + 0.01, chest[2] + 0.1 * tall)
    build.capsule(chest, neck, 0.03 * tall, clothes.skin, part=Part.TORSO)
    turn = draw.uniform(-0.02, 0.02)
    head = (turn, neck[1] + 0.015, neck[2] + 0.055 * tall)
    build.ellipsoid(head, (0.045 * tall, 0.053 * tall, 0.066 * tall), clothes.skin, part=Part.HEAD)
    drop = draw.uniform(0.0, 0.035) * tall
    crown = (head[0], head[1] - 0.018 * tall, head[2] + 0.02 * tall - drop)
    build.ellipsoid(crown, (0.05 * tall, 0.052 * tall, 0.055 * tall + drop), clothes.hair, part=Part.HEAD)


def _arm(
    build: Builder, draw: Draw, clothes: Clothes, shoulder: Vector, side: int, tall: float, sitting: bool
) -> None:
    swing = draw.uniform(0.1, 0.8) if sitting else draw.uniform(-0.5, 0.6)
    splay = side * draw.uniform(0.05, 0.35)
    if draw.chance(0.15):  # a raised arm
        swing, splay = draw.uniform(1.2, 2.8), side * draw.uniform(0, 0.6)
    elbow = _step(shoulder, 0.17 * tall, swing, splay)
    wrist = _step(elbow, 0.15 * tall, swing + draw.uniform(0.0, 1.5), splay * draw.uniform(-0.5, 1))
    build.capsule(shoulder, elbow, 0.031 * tall, clothes.shirt, part=Part.UPPER_ARM)
    build.capsule(elbow, wrist, 0.024 * tall, clothes.sleeve, part=Part.LOWER_ARM)
    hand = _step(wrist, 0.04 * tall, swing + 0.4, splay)
    build.ellipsoid(hand, (0.026 * tall, 0.028 * tall, 0.032 * tall), clothes.skin, part=Part.LOWER_ARM)
