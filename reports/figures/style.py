"""What the figures share: fonts for a two-column paper, colours that the colour-blind tell apart."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any

from matplotlib.artist import Artist
from matplotlib.figure import Figure

COLUMN = 3.5
"""Width of one column of a two-column paper, in inches."""
PAGE = 7.16
"""Width of both columns with the gap."""

INK = "#222222"
GREY = "#8a8a8a"
LIGHT = "#d9d9d9"

# Okabe and Ito, ordered so that neighbours differ in lightness too; yellow is left out (invisible on white).
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#444444")
DASHES = ("-", (0, (4, 1.5)), (0, (1, 1)), (0, (6, 1.5, 1, 1.5)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")

BEYOND = "; those that reach the frame go on beyond it"
"""Said of intervals of which some are longer than a figure has room for."""

RC: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 7.5,
    "axes.titlesize": 8,
    "axes.labelsize": 7.5,
    "axes.edgecolor": GREY,
    "axes.linewidth": 0.6,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": True,
    "axes.formatter.useoffset": False,
    "grid.color": LIGHT,
    "grid.linewidth": 0.5,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "lines.linewidth": 1.2,
    "text.parse_math": False,  # labels are the user's: `$` is a dollar sign
    "pdf.fonttype": 42,  # real fonts: text stays searchable, and conferences ask for it
    "savefig.facecolor": "white",
}


def colours(names: Iterable[str]) -> dict[str, str]:
    """A colour for each name, in the order of first appearance; they repeat after seven."""
    return dict(zip(dict.fromkeys(names), cycle(PALETTE), strict=False))


def line_style(place: int) -> dict[str, Any]:
    """Colour and dashes of the row at a place of the table, the same in every figure: 28 that differ."""
    return {
        "color": PALETTE[place % len(PALETTE)],
        "linestyle": DASHES[place // len(PALETTE) % len(DASHES)],
    }


def short(label: str, width: int, lines: int = 2) -> str:
    """A label wrapped to `width` characters.

    What doesn't fit in some lines is left out of the middle: labels of one grid often differ at their ends.
    """
    room = min(len(label), width * lines + 1)
    wrapped = textwrap.wrap(label, width)
    while len(wrapped) > lines:
        room -= 1
        shortened = f"{label[: room // 2].rstrip()}…{label[-(room // 2) :].lstrip()}"
        wrapped = textwrap.wrap(shortened, width)
    return "\n".join(wrapped) or label


@dataclass(frozen=True)
class Legend:
    """One legend for all panels, under them.

    Attributes:
        columns: as many as the longest label leaves room for.
        height: inches that a figure should add for it.
    """

    handles: Sequence[Artist]
    columns: int
    height: float

    def draw(self, figure: Figure) -> None:
        if self.handles:
            figure.legend(
                handles=self.handles, loc="outside lower center", ncols=self.columns, handlelength=2.2
            )


def legend(handles: Sequence[Artist], width: float) -> Legend:
    """The legend of a figure `width` inches wide; none where there is nothing to tell apart."""
    if len(handles) < 2:
        return Legend((), 0, 0.0)
    labels = [str(handle.get_label()) for handle in handles]
    longest = max(len(line) for label in labels for line in label.split("\n"))
    columns = max(1, min(4, len(handles), int(width / (0.057 * longest + 0.45))))
    lines = max(label.count("\n") + 1 for label in labels)
    return Legend(handles, columns, 0.1 + (0.05 + 0.12 * lines) * -(-len(handles) // columns))
