"""A figure that knows its caption and how to be drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from .style import RC

DPI = 200
# Files must not differ from run to run.
_METADATA = {"png": {"Software": None}, "pdf": {"CreationDate": None}}


@dataclass(frozen=True)
class Chart:
    """One figure.

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


def save(chart: Chart, folder: Path, formats: Sequence[str]) -> list[Path]:
    """Draw once, write a file for each format, and return their paths."""
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{chart.name}.{suffix}" for suffix in formats]
    with mpl.rc_context(RC):
        figure = chart.draw()
        for path, suffix in zip(paths, formats, strict=True):
            figure.savefig(path, dpi=DPI, metadata=_METADATA[suffix])
    return paths


def png(chart: Chart, dpi: int = DPI) -> bytes:
    """The figure as the content of a PNG file."""
    buffer = BytesIO()
    with mpl.rc_context(RC):
        chart.draw().savefig(buffer, format="png", dpi=dpi, metadata=_METADATA["png"])
    return buffer.getvalue()
