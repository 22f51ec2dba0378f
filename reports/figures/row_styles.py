"""How points and lines of rows look: the method by colour, the balancer by shape, as far as both suffice."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from mtlbench.entries import DASH
from mtlbench.table import Table

from .style import DASHES, GREY, INK, MARKERS, PALETTE

BASELINE = "single-task baseline"
OTHERS = "other rows"
_SIZE = 4.5  # points
_PALE = "#b5b5b5"


@dataclass(frozen=True)
class RowStyle:
    """One row.

    Attributes:
        size: of the marker, in points.
        dashes: of a line.
        named: whether it can be told from the others.
        keys: what the legend says of it: names with the options of a marker.
    """

    colour: str
    marker: str
    size: float
    dashes: Any
    named: bool
    keys: tuple[tuple[str, dict[str, Any]], ...]

    @property
    def marker_options(self) -> dict[str, Any]:
        return _marker(self.colour, self.marker, self.size)


def candidate_names(table: Table) -> dict[int, tuple[str, str]]:
    """Row of each candidate -> the labels that vary, but the balancer, and the balancer.

    What all candidates share, such as one method beside a baseline of another, is left out if more is known.
    """
    places = {column.name: i for i, column in enumerate(table.columns) if column.kind == "label"}
    lines = [line for line in table.lines if line.role == "candidate"]
    labels = {line.row: {name: line.entries[i].value for name, i in places.items()} for line in lines}
    balancers = {row: found.pop("balancer", "") for row, found in labels.items()}
    telling = [name for name in places if len({found.get(name) for found in labels.values()}) > 1]
    names = {}
    for row, found in labels.items():
        known = {name: value for name, value in found.items() if value != DASH}
        shown = [value for name, value in known.items() if name in telling] or list(known.values())
        names[row] = (" · ".join(shown), balancers[row])
    return names


def row_styles(table: Table, rows: Sequence[int], leading: Collection[int]) -> dict[int, RowStyle]:
    """Row -> style. Where colours or shapes run out, only leading rows are named, and the others grey."""
    wanted = set(rows)
    lines = [line for line in table.lines if line.row in wanted]
    candidates = {row: names for row, names in candidate_names(table).items() if row in wanted}
    groups = list(dict.fromkeys(group for group, _ in candidates.values()))
    balancers = list(dict.fromkeys(balancer for _, balancer in candidates.values()))
    found = {
        line.row: RowStyle(INK, "*", 7.0, "-", True, ((BASELINE, _marker(INK, "*", 7.0)),))
        for line in lines
        if line.role == "baseline"
    }
    if _suffice(groups, balancers):
        for row, (group, balancer) in candidates.items():
            colour, marker = PALETTE[groups.index(group)], MARKERS[balancers.index(balancer)]
            keys = [(group, _marker(colour, "o" if len(balancers) > 1 else marker))]
            if len(balancers) > 1:
                keys.append((balancer or DASH, _marker(GREY, marker)))
            found[row] = RowStyle(
                colour, marker, _SIZE, _dashes(balancers.index(balancer)), True, tuple(keys)
            )
        return found
    ahead = [row for row in candidates if row in leading][: len(PALETTE) * 2]
    for row in candidates:
        if row in ahead:
            place = ahead.index(row)
            colour, marker = PALETTE[place % len(PALETTE)], MARKERS[place // len(PALETTE) * 2 + place % 2]
            name = " · ".join(name for name in candidates[row] if name)
            keys = [(name, _marker(colour, marker))]
            found[row] = RowStyle(colour, marker, _SIZE, _dashes(place // len(PALETTE)), True, tuple(keys))
        else:
            found[row] = RowStyle(_PALE, "o", 3.0, "-", False, ((OTHERS, _marker(_PALE, "o", 3.0)),))
    return found


def told_apart(table: Table, rows: Sequence[int]) -> bool:
    """Whether there are enough colours for the candidates' methods and shapes for their balancers."""
    wanted = set(rows)
    names = [names for row, names in candidate_names(table).items() if row in wanted]
    return _suffice({group for group, _ in names}, {balancer for _, balancer in names})


def _suffice(groups: Collection[str], balancers: Collection[str]) -> bool:
    return len(groups) <= len(PALETTE) and len(balancers) <= len(MARKERS)


def legend_keys(styles: Iterable[RowStyle]) -> dict[str, dict[str, Any]]:
    """Name -> marker of all that the legend says: all methods, then all balancers."""
    found: dict[str, dict[str, Any]] = {}
    known = list(styles)
    for part in range(2):
        for style in known:
            for name, options in style.keys[part : part + 1]:
                found.setdefault(name, options)
    return found


def _dashes(place: int) -> Any:
    return DASHES[place % len(DASHES)]


def _marker(colour: str, marker: str, size: float = _SIZE) -> dict[str, Any]:
    edge = {"markeredgecolor": "white", "markeredgewidth": 0.4}
    return {"color": colour, "marker": marker, "markersize": size, **edge}
