"""The ids that scenes, kernels and labels share."""

from enum import IntEnum

CLASSES = (
    "wall", "floor", "ceiling", "door", "window", "picture", "table", "chair", "sofa", "bed", "cabinet",
    "lamp", "person",
)  # fmt: skip
"""Names of the semantic classes, by id."""

PARTS = ("background", "head", "torso", "upper arm", "lower arm", "upper leg", "lower leg")
"""Names of the body parts, by id (the six of PASCAL-Part, and background)."""


class Semantic(IntEnum):
    """Ids of `CLASSES`."""

    WALL = 0
    FLOOR = 1
    CEILING = 2
    DOOR = 3
    WINDOW = 4
    PICTURE = 5
    TABLE = 6
    CHAIR = 7
    SOFA = 8
    BED = 9
    CABINET = 10
    LAMP = 11
    PERSON = 12


class Part(IntEnum):
    """Ids of `PARTS`."""

    NONE = 0
    HEAD = 1
    TORSO = 2
    UPPER_ARM = 3
    LOWER_ARM = 4
    UPPER_LEG = 5
    LOWER_LEG = 6


ROOM_SEMANTICS = (
    Semantic.FLOOR,
    Semantic.CEILING,
    Semantic.WALL,
    Semantic.WALL,
    Semantic.WALL,
    Semantic.WALL,
)
"""Classes of instances 0 to 5, the room: floor, ceiling, walls at x = 0, x = width, y = 0, y = length."""

BOX, CONE, ELLIPSOID, CAPSULE = 0, 1, 2, 3
PLAIN, CLOUDY, WOOD, TILES, STRIPES, PLANKS, PAINTING, OUTDOORS, CHECKS = range(9)
