"""Keeps things on the floor, and things on the walls, from standing in each other."""

import math

from .builder import Frame, Vector
from .draw import Draw
from .furniture import Footprint

Rectangle = tuple[float, float, float, float]
WALL_YAWS = (-math.pi / 2, math.pi / 2, 0.0, math.pi)
"""Yaw of a frame whose +y points into the room, for the walls x = 0, x = width, y = 0, y = length."""


class FloorPlan:
    """What is taken, of the floor and of each wall."""

    def __init__(self, room: Vector) -> None:
        self.room = room
        self._taken: list[Rectangle] = []
        self._spans: list[list[tuple[float, float]]] = [[], [], [], []]

    def block(self, x: float, y: float, radius: float) -> None:
        """Keep a square free of furniture."""
        self._taken.append((x - radius, y - radius, x + radius, y + radius))

    def claim(self, frame: Frame, area: Footprint, *, margin: float = 0.05) -> bool:
        """Take a place on the floor if it is free and inside the room."""
        c, s = abs(math.cos(frame.yaw)), abs(math.sin(frame.yaw))
        dx = (c * area.width + s * area.depth) / 2
        dy = (s * area.width + c * area.depth) / 2
        x0, y0, x1, y1 = frame.x - dx, frame.y - dy, frame.x + dx, frame.y + dy
        if x0 < 0 or y0 < 0 or x1 > self.room[0] or y1 > self.room[1]:
            return False
        if any(
            x0 < b[2] + margin and b[0] < x1 + margin and y0 < b[3] + margin and b[1] < y1 + margin
            for b in self._taken
        ):
            return False
        self._taken.append((x0, y0, x1, y1))
        return True

    def wall_length(self, wall: int) -> float:
        return self.room[1] if wall < 2 else self.room[0]

    def on_wall(self, wall: int, along: float, out: float) -> Frame:
        """The frame at `along` metres of a wall's length and `out` metres in front of it, facing the room."""
        x, y = ((out, along), (self.room[0] - out, along), (along, out), (along, self.room[1] - out))[wall]
        return Frame(x, y, WALL_YAWS[wall])

    def hang(self, draw: Draw, width: float) -> Frame | None:
        """Take a free stretch of some wall, or None where ten draws find none."""
        for _ in range(10):
            wall = draw.integer(0, 3)
            length = self.wall_length(wall)
            if length < width + 0.3:
                continue
            at = draw.uniform(width / 2 + 0.1, length - width / 2 - 0.1)
            low, high = at - width / 2 - 0.1, at + width / 2 + 0.1
            if all(high < a or low > b for a, b in self._spans[wall]):
                self._spans[wall].append((low, high))
                return self.on_wall(wall, at, 0.0)
        return None

    def against_wall(self, draw: Draw, area: Footprint) -> Frame | None:
        """Take floor for something with its back to a wall."""
        for _ in range(8):
            wall = draw.integer(0, 3)
            length = self.wall_length(wall)
            if length < area.width:
                continue
            along = draw.uniform(area.width / 2, length - area.width / 2)
            frame = self.on_wall(wall, along, area.depth / 2 + 0.03)
            if self.claim(frame, area):
                return frame
        return None

    def standing(self, draw: Draw, area: Footprint, *, tries: int = 8) -> Frame | None:
        """Take floor anywhere, at any angle."""
        for _ in range(tries):
            x, y = draw.uniform(0.3, self.room[0] - 0.3), draw.uniform(0.3, self.room[1] - 0.3)
            frame = Frame(x, y, draw.uniform(-math.pi, math.pi))
            if self.claim(frame, area):
                return frame
        return None
