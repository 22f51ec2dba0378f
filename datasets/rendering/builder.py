"""Collects the solids of a scene and packs them into the arrays that the kernels read."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .vocabulary import BOX, CAPSULE, CONE, ELLIPSOID, ROOM_SEMANTICS, Part, Semantic

Vector = tuple[float, float, float]


class Scene(NamedTuple):
    """A scene as arrays; metres; world frame: x, y along the floor, z up, a corner of the room at the origin.

    Attributes:
        room: (3,) width, length, height.
        solids: (N, 8) float64, the parameters of each solid; their meaning depends on its kind (`solids.py`).
        kinds: (N,) int64, BOX, CONE, ELLIPSOID or CAPSULE.
        casts: (N,) bool, False for what lets light through (lamp shades).
        material_of: (N,) int64, row of `materials`.
        instance_of: (N,) int64, row of `semantics`; 0 to 5 are the faces of the room.
        part_of: (N,) int64, body part, 0 = none.
        bounds: (G, 6) axis-aligned boxes (low corner, high corner) around the solids of one object.
        spans: (G, 2) int64, first and last + 1 solid of each object.
        materials: (M, 11) float64, see `Material`; rows 0 to 5 are the faces of the room.
        semantics: (I,) int64, class of each instance.
        lights: (L, 6) position and colour.
        camera: (14,) origin; right, up, forward (unit vectors); tangents of half the fields of view.
        look: (6,) ambient red, green, blue; mean brightness that the camera exposes for; blur; noise.
        seed: of hash noise in textures and sensor.
    """

    room: np.ndarray
    solids: np.ndarray
    kinds: np.ndarray
    casts: np.ndarray
    material_of: np.ndarray
    instance_of: np.ndarray
    part_of: np.ndarray
    bounds: np.ndarray
    spans: np.ndarray
    materials: np.ndarray
    semantics: np.ndarray
    lights: np.ndarray
    camera: np.ndarray
    look: np.ndarray
    seed: int


class Material(NamedTuple):
    """A procedural texture between two linear RGB colours; `scale` is in repeats per metre."""

    kind: int
    scale: float
    first: Vector
    second: Vector
    emission: float = 0.0
    gloss: float = 0.0
    offset: float = 0.0


@dataclass(frozen=True)
class Frame:
    """A place on the floor plan: local (x, y) is turned by `yaw` and moved to (x, y); z is unchanged."""

    x: float
    y: float
    yaw: float

    def point(self, x: float, y: float, z: float) -> Vector:
        c, s = math.cos(self.yaw), math.sin(self.yaw)
        return self.x + c * x - s * y, self.y + s * x + c * y, z


class Builder:
    """Takes solids object by object; all coordinates are local to the object's frame."""

    def __init__(self, room: Vector) -> None:
        self.room = room
        self.materials: list[Material] = []
        self.lights: list[tuple[float, ...]] = []
        self._semantics: list[int] = list(ROOM_SEMANTICS)
        self._rows: list[tuple[float, ...]] = []
        self._facts: list[tuple[int, int, int, int, bool]] = []
        self._boxes: list[Vector] = []
        self._starts: list[int] = []
        self._frame = Frame(0, 0, 0)

    def material(self, material: Material) -> int:
        """Add a material and return its row."""
        self.materials.append(material)
        return len(self.materials) - 1

    def begin(self, semantic: Semantic, frame: Frame) -> None:
        """Start a new instance; the solids that follow belong to it."""
        self._semantics.append(semantic)
        self._starts.append(len(self._rows))
        self._frame = frame

    def light(self, at: Vector, colour: Vector) -> None:
        """Add a point light at a local position."""
        self.lights.append((*self._frame.point(*at), *colour))

    def box(self, centre: Vector, size: Vector, material: int, *, yaw: float = 0.0) -> None:
        """An upright box of full edge lengths `size`."""
        angle = self._frame.yaw + yaw
        c, s = math.cos(angle), math.sin(angle)
        hx, hy, hz = size[0] / 2, size[1] / 2, size[2] / 2
        at = self._frame.point(*centre)
        reach = (abs(c) * hx + abs(s) * hy, abs(s) * hx + abs(c) * hy, hz)
        self._add(BOX, (*at, hx, hy, hz, c, s), material, at, reach)

    def cone(
        self,
        base: Vector,
        height: float,
        radius: float,
        material: int,
        *,
        top: float | None = None,
        casts: bool = True,
    ) -> None:
        """An upright cylinder, or a truncated cone whose upper radius is `top`."""
        x, y, z = self._frame.point(*base)
        upper = radius if top is None else top
        widest = max(radius, upper)
        middle = (x, y, z + height / 2)
        row = (x, y, z, radius, z + height, upper, 0.0, 0.0)
        self._add(CONE, row, material, middle, (widest, widest, height / 2), casts=casts)

    def ellipsoid(
        self, centre: Vector, radii: Vector, material: int, *, part: Part = Part.NONE, casts: bool = True
    ) -> None:
        """An ellipsoid whose axes are those of the frame."""
        at = self._frame.point(*centre)
        c, s = math.cos(self._frame.yaw), math.sin(self._frame.yaw)
        reach = (abs(c) * radii[0] + abs(s) * radii[1], abs(s) * radii[0] + abs(c) * radii[1], radii[2])
        self._add(ELLIPSOID, (*at, *radii, c, s), material, at, reach, part=part, casts=casts)

    def capsule(self, a: Vector, b: Vector, radius: float, material: int, *, part: Part = Part.NONE) -> None:
        """All points nearer than `radius` to the segment from a to b."""
        p, q = self._frame.point(*a), self._frame.point(*b)
        middle = ((p[0] + q[0]) / 2, (p[1] + q[1]) / 2, (p[2] + q[2]) / 2)
        reach = (abs(p[0] - q[0]) / 2 + radius, abs(p[1] - q[1]) / 2 + radius, abs(p[2] - q[2]) / 2 + radius)
        self._add(CAPSULE, (*p, *q, radius, 0.0), material, middle, reach, part=part)

    def _add(
        self,
        kind: int,
        row: tuple[float, ...],
        material: int,
        middle: Vector,
        reach: Vector,
        *,
        part: Part = Part.NONE,
        casts: bool = True,
    ) -> None:
        self._rows.append(row)
        self._facts.append((kind, material, len(self._semantics) - 1, part, casts))
        self._boxes.append((middle[0] - reach[0], middle[1] - reach[1], middle[2] - reach[2]))
        self._boxes.append((middle[0] + reach[0], middle[1] + reach[1], middle[2] + reach[2]))

    def finish(self, camera: tuple[float, ...], look: tuple[float, ...], seed: int) -> Scene:
        """Pack everything into arrays."""
        starts = np.array(self._starts, dtype=np.int64)
        facts = np.array(self._facts, dtype=np.int64)
        boxes = np.array(self._boxes).reshape(-1, 2, 3)
        low = np.minimum.reduceat(boxes[:, 0], starts)
        high = np.maximum.reduceat(boxes[:, 1], starts)
        flat = [(m.kind, m.scale, *m.first, *m.second, m.emission, m.gloss, m.offset) for m in self.materials]
        return Scene(
            room=np.array(self.room, dtype=np.float64),
            solids=np.array(self._rows, dtype=np.float64),
            kinds=facts[:, 0].copy(),
            casts=facts[:, 4].astype(np.bool_),
            material_of=facts[:, 1].copy(),
            instance_of=facts[:, 2].copy(),
            part_of=facts[:, 3].copy(),
            bounds=np.concatenate([low, high], axis=1),
            spans=np.stack([starts, np.append(starts[1:], len(facts))], axis=1),
            materials=np.array(flat, dtype=np.float64),
            semantics=np.array(self._semantics, dtype=np.int64),
            lights=np.array(self.lights, dtype=np.float64),
            camera=np.array(camera, dtype=np.float64),
            look=np.array(look, dtype=np.float64),
            seed=seed,
        )
