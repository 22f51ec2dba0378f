"""Pictures in lines and columns, pasted into one image: axes for each would take seconds."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from .chart import DPI

_GAP = 0.015  # inches around a picture


@dataclass(frozen=True, eq=False)
class Sheet:
    """Room for pictures of one shape.

    Attributes:
        width: of all columns, in inches.
        aspect: height over width of a picture.
        above, below: free inches over and under the pictures.
    """

    width: float
    columns: int
    lines: int
    aspect: float
    above: float = 0.0
    below: float = 0.0
    _pasted: list[tuple[Image.Image, tuple[int, int]]] = field(default_factory=list)

    @property
    def cell(self) -> tuple[float, float]:
        """Width and height of a picture's room, in inches."""
        width = self.width / self.columns
        return width, width * self.aspect

    @property
    def height(self) -> float:
        """Of all lines, in inches."""
        return self.lines * self.cell[1]

    def middle(self, line: int, column: int) -> tuple[float, float]:
        """Of a room, in the units of `axes`."""
        width, height = self.cell
        return (column + 0.5) * width, (line + 0.5) * height

    def paste(self, picture: Image.Image, line: int, column: int) -> None:
        """Put a picture where it belongs, with a gap around it."""
        width, height = self.cell
        size = round((width - 2 * _GAP) * DPI), round((height - 2 * _GAP) * DPI)
        corner = round((column * width + _GAP) * DPI), round((line * height + _GAP) * DPI)
        self._pasted.append((picture.convert("RGB").resize(size, Image.Resampling.BOX), corner))

    @cached_property
    def figure(self) -> Figure:
        return Figure(figsize=(self.width, self.above + self.height + self.below))

    def axes(self) -> Axes:
        """All pictures, on axes over the whole figure whose unit is an inch, down from the first picture."""
        canvas = Image.new("RGB", (round(self.width * DPI), round(self.height * DPI)), "white")
        for picture, corner in self._pasted:
            canvas.paste(picture, corner)
        axes = self.figure.add_axes((0, 0, 1, 1))
        extent = (0, self.width, self.height, 0)
        axes.imshow(canvas, extent=extent, aspect="auto", interpolation="nearest", zorder=0)
        axes.set(xlim=(0, self.width), ylim=(self.height + self.below, -self.above))
        axes.set_axis_off()
        return axes
