"""What two results differ by beside their scores: code, data, versions, hardware, the settings themselves."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from mtlbench.folder import Result

_PASSING = ("finished", "command")
"""Of provenance: what differs between any two runs."""
_FAMILIES = ("dataset", "backbone", "method", "balancer", "tuning")
_NAMES = {"core": "code: harness", "data": "data", "start": "network that it starts from"}


@dataclass(frozen=True)
class Change:
    """Something that is not the same in cells that are compared.

    Attributes:
        cells: how many pairs of cells differ in it so.
    """

    what: str
    a: str
    b: str
    cells: int


def changes(pairs: Iterable[tuple[Result, Result]]) -> list[Change]:
    """All that differs in any of these pairs."""
    counts: Counter[tuple[str, str, str]] = Counter()
    for first, second in pairs:
        a, b = _facts(first), _facts(second)
        for what in a | b:
            here, there = a.get(what), b.get(what)
            if not same(here, there):
                counts[what, _shown(here), _shown(there)] += 1
    return [Change(what, a, b, cells) for (what, a, b), cells in counts.items()]


def same(a: object, b: object) -> bool:
    """Of what JSON holds: bit for bit, also for numbers that are not finite."""
    return _text(a) == _text(b)


def _facts(result: Result) -> dict[str, Any]:
    """Name -> value of all that may explain a difference; what was not recorded is left out."""
    cell = result.cell
    names = _NAMES | {part: f"code: {part} {getattr(cell, part).name}" for part in _FAMILIES}
    code = {names.get(part, part): found for part, found in result.fingerprints.items()}
    data = {f"data: files of {split}": found for split, found in result.data_checksums.items()}
    images = {f"images: {split}": count for split, count in result.images.items()}
    origin = {key: value for key, value in result.provenance.items() if key not in _PASSING}
    spec = _flat("setting", cell.model_dump(mode="json", exclude={"seed", "start"}))
    caveats = {"caveats": "; ".join(result.caveats) or None}
    found = spec | code | data | images | _flat("", origin) | caveats
    return {key: value for key, value in found.items() if value is not None}


def _flat(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        return {name: value}
    parts = (_flat(f"{name}.{key}" if name else key, inner) for key, inner in value.items())
    return {key: inner for part in parts for key, inner in part.items()}


def _shown(value: object) -> str:
    return "none" if value is None else value if isinstance(value, str) else _text(value)


def _text(value: object) -> str:
    return json.dumps(value, sort_keys=True)
