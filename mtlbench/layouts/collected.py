"""What layouts need of results beyond scores: the settings behind labels, and what training took."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from mtlbench.folder import Result
from mtlbench.layouts.settings import EFFORTS, ReportSettings, published_names_of

if TYPE_CHECKING:
    from mtlbench.plan import Row  # brings torch
    from mtlbench.registry import Registry

COUNTED = ("encoder_trainable", "decoder_trainable", "trainable", "encoder_passes")
FAMILIES = ("method", "balancer", "tuning")


def settings_of(rows: Sequence[Mapping[str, Any]]) -> dict[int, Mapping[str, Any]]:
    """Row -> its first cell as the grid's record holds it."""
    return {i: row["specs"][0] for i, row in enumerate(rows) if row.get("specs")}


def efforts(rows: Sequence[Mapping[str, Any]], results: Mapping[str, Result]) -> pd.DataFrame:
    """`Results.efforts`, of the seeds whose cells are all done: sums over a row's networks.

    Hours are of the cells' own training, and count each of several devices of one cell only once.
    """
    lines = []
    for i, row in enumerate(rows):
        for seed, ids in row["cells"].items():
            if not ids or not all(cell in results for cell in ids):
                continue
            found = [results[cell] for cell in ids]
            on_gpu = all(result.provenance.get("gpu") for result in found)
            hours = sum(result.costs.train_seconds for result in found) / 3600
            counts = [_total(found, name) for name in COUNTED]
            lines.append((i, int(seed), *counts, hours if on_gpu else math.nan))
    return pd.DataFrame(lines, columns=list(EFFORTS))


def _total(found: Sequence[Result], name: str) -> float:
    """Of all networks; NaN where one ran before it was counted."""
    values = [getattr(result.costs, name) for result in found]
    return math.nan if None in values else sum(values)


def report_record(settings: ReportSettings, rows: Sequence[Row], registry: Registry) -> dict[str, Any]:
    """What is remembered of a grid's wishes for its report, and of the defaults that its rows leave out."""
    return {"settings": settings.model_dump(mode="json"), "defaults": defaults_of(rows, registry)}


def report_fields(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of `Results` from what the store remembers (`Runs.report_keys`)."""
    report = stored.get("report") or {}
    return {
        "published": published_names_of(stored.get("published")),
        "report": ReportSettings.model_validate(report.get("settings", {})),
        "defaults": report.get("defaults", {}),
    }


def defaults_of(rows: Sequence[Row], registry: Registry) -> dict[str, dict[str, dict[str, Any]]]:
    """Family -> plugin -> option -> default, of the plugins in these rows: what settings leave out."""
    found: dict[str, dict[str, dict[str, Any]]] = {family: {} for family in FAMILIES}
    for row in rows:
        for cell in next(iter(row.cells.values()), [])[:1]:
            for family in FAMILIES:
                name = getattr(cell, family).name
                if name not in found[family]:
                    found[family][name] = {
                        option: _plain(x.default)
                        for option, x in registry.get(family, name).options().items()
                        if not x.required
                    }
    return found


def _plain(value: Any) -> Any:
    """As JSON holds it."""
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(element) for element in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)
