"""Repaints a scene plainly: every class and body part in a colour of its own, give or take."""

import colorsys

import numpy as np

from .builder import Scene
from .draw import Draw
from .vocabulary import PLAIN, Part, Semantic

HUES = {
    Semantic.WALL: (0.12, 0.15, 0.85),
    Semantic.FLOOR: (0.07, 0.55, 0.45),
    Semantic.CEILING: (0.15, 0.03, 0.97),
    Semantic.DOOR: (0.04, 0.75, 0.30),
    Semantic.WINDOW: (0.55, 0.35, 0.95),
    Semantic.PICTURE: (0.88, 0.60, 0.70),
    Semantic.TABLE: (0.09, 0.80, 0.75),
    Semantic.CHAIR: (0.00, 0.80, 0.60),
    Semantic.SOFA: (0.40, 0.60, 0.45),
    Semantic.BED: (0.72, 0.35, 0.80),
    Semantic.CABINET: (0.62, 0.55, 0.40),
    Semantic.LAMP: (0.16, 0.70, 0.95),
    Semantic.PERSON: (0.80, 0.60, 0.50),
}
"""Hue, saturation, value."""

PART_HUES = {
    Part.HEAD: (0.06, 0.50, 0.90),
    Part.TORSO: (0.60, 0.90, 0.80),
    Part.UPPER_ARM: (0.50, 0.90, 0.60),
    Part.LOWER_ARM: (0.05, 0.65, 0.65),
    Part.UPPER_LEG: (0.30, 0.90, 0.35),
    Part.LOWER_LEG: (0.17, 0.90, 0.70),
}
FACES = 6
"""The first rows of materials are the faces of the room."""


def paint(scene: Scene) -> Scene:
    """The same geometry and lights in plain colours, without textures and sensor noise."""
    draw = Draw((scene.seed,))
    shades = [(draw.uniform(-0.02, 0.02), draw.uniform(0.8, 1.2)) for _ in scene.semantics]
    rows = [_face(scene, row, shades) for row in range(FACES)]
    rows += [_solid(scene, solid, shades) for solid in range(len(scene.solids))]
    return scene._replace(
        materials=np.array(rows, dtype=np.float64),
        material_of=np.arange(FACES, FACES + len(scene.solids), dtype=np.int64),
        look=np.array([*scene.look[:5], 0.0]),
    )


def _face(scene: Scene, row: int, shades: list[tuple[float, float]]) -> tuple[float, ...]:
    return _material(scene.materials[row], HUES[Semantic(scene.semantics[row])], shades[row])


def _solid(scene: Scene, solid: int, shades: list[tuple[float, float]]) -> tuple[float, ...]:
    instance = scene.instance_of[solid]
    part = Part(scene.part_of[solid])
    hue = PART_HUES[part] if part is not Part.NONE else HUES[Semantic(scene.semantics[instance])]
    return _material(scene.materials[scene.material_of[solid]], hue, shades[instance])


def _material(
    old: np.ndarray, hue: tuple[float, float, float], shade: tuple[float, float]
) -> tuple[float, ...]:
    """A row of materials; light and gloss stay as they were."""
    red, green, blue = colorsys.hsv_to_rgb((hue[0] + shade[0]) % 1, hue[1], min(hue[2] * shade[1], 1))
    colour = (red * red, green * green, blue * blue)  # to linear light
    return (float(PLAIN), 1.0, *colour, *colour, float(old[8]), float(old[9]), 0.0)
