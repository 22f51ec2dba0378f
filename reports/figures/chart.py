"""A figure that knows its caption and how to be drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from .style import RC

DPI = 200
# Files must not differ from run to run.
_METADATA = {"png": {"Software": None}, "pdf": {"CreationDate": None}}


@dataclass(frozen=True, eq=False)
class Chart:
    """One figure, which is drawn when it is first needed, and then kept.

    Attributes:
        name: of its files.
        title: a few words.
        caption: what is shown and how to read it.
        draw: makes the figure from data that were prepared before.
    """

    name: str
    title: str
    caption: str
    draw: Callable[[], Figure]

    @cached_property
    def png(self) -> bytes:
        """The content of a PNG file."""
        return self._content("png")

    @cached_property
    def pdf(self) -> bytes:
        """The content of a PDF file."""
        return self._content("pdf")

    @cached_property
    def _figure(self) -> Figure:
        """With everything in its place: arranging takes as long as drawing, so it is done once."""
        figure = self.draw()
        if figure.get_layout_engine() is not None:
            figure.draw_without_rendering()
            figure.set_layout_engine("none")
        return figure

    def _content(self, suffix: str) -> bytes:
        buffer = BytesIO()
        with mpl.rc_context(RC):
            self._figure.savefig(buffer, format=suffix, dpi=DPI, metadata=_METADATA[suffix])
        return buffer.getvalue()


def save(chart: Chart, folder: Path, formats: Sequence[str]) -> list[Path]:
    """Write a file for each format, and return their paths."""
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{chart.name}.{suffix}" for suffix in formats]
    for path, suffix in zip(paths, formats, strict=True):
        path.write_bytes(getattr(chart, suffix))
    return paths
