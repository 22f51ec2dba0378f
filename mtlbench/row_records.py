"""Rows as the store keeps them (`mtlbench.plan.Row.record`), and the frame that reports read."""

from __future__ import annotations

from typing import Any

import pandas as pd

from mtlbench.spec import Cell
from mtlbench.store import CellRecord

AXES = ("dataset", "backbone", "method", "balancer", "tuning", "recipe", "protocol")
TRAINING = ("evaluated", "trained", "stages", "networks", "base", "baseline", "cells")
"""Columns of `Results.rows` that say what a row was trained and evaluated on, and compares with."""
_COMPARED_WITHIN = ("dataset", "backbone", "tuning", "recipe")
"""A row's baseline is the one that agrees with it on these, or on all but the tuning, where a grid gives all
rows a baseline of one tuning.
"""


_ENDED = ("failed", "pruned")
"""States of cells that stopped before they had a result."""


def complete(row: dict[str, Any]) -> dict[str, Any]:
    """A row's record with what older ones lack: there was one stage, for all tasks."""
    trained = row.get("trained", row["tasks"])
    return {**row, "trained": trained, "stages": row.get("stages") or [trained]}


def rows_frame(rows: list[dict[str, Any]], cells: dict[str, CellRecord]) -> pd.DataFrame:
    """`Results.rows` of complete records."""
    baselines = _baselines(rows)
    shared = {_any_tuning(rows[i]): i for i in reversed(baselines.values())}
    lines = [
        {
            "role": row["role"],
            **row["labels"],
            "state": _state(row, rows, cells),
            "evaluated": tuple(row["tasks"]),
            "trained": tuple(row["trained"]),
            "stages": tuple(tuple(stage) for stage in row["stages"]),
            "networks": max((len(ids) for ids in row["cells"].values()), default=0),
            "base": _base(row, rows, cells),
            "baseline": baselines.get(_place(row), shared.get(_any_tuning(row), -1)),
            "cells": tuple(_ids(row)),
        }
        for row in rows
    ]
    columns = ["role", *AXES, "state", *TRAINING]
    return pd.DataFrame(lines, columns=columns, index=pd.RangeIndex(len(rows), name="row"))


def _ids(row: dict[str, Any]) -> list[str]:
    return [cell for ids in row["cells"].values() for cell in ids]


def _state(row: dict[str, Any], rows: list[dict[str, Any]], cells: dict[str, CellRecord]) -> str:
    if row["skipped"]:
        return f"skipped: {row['skipped']}"
    ids = _ids(row)
    states = [cells[cell].state if cell in cells else "new" for cell in ids]
    if all(state == "done" for state in states):
        return "done"
    ended = {state: states.count(state) for state in _ENDED}
    blocked = sum(
        cell not in cells or cells[cell].state not in ("done", *_ENDED)
        for seed, found in row["cells"].items()
        if _base_failed(row, seed, rows, cells)
        for cell in found
    )
    if blocked == len(ids):
        return "blocked: its base failed"
    if blocked or any(ended.values()):
        parts = [f"{count} of {len(ids)} cells {state}" for state, count in ended.items() if count]
        return "; ".join(parts + ([f"{blocked} of {len(ids)} blocked: base failed"] if blocked else []))
    return f"{states.count('done')} of {len(ids)} cells done"


def _base_failed(
    row: dict[str, Any], seed: str, rows: list[dict[str, Any]], cells: dict[str, CellRecord]
) -> bool:
    """Whether a stage before the row's last one failed.

    Cells that were made know what they start from. Those that never were have rows before them whose stages
    are their own first ones.
    """
    known = [cells[cell] for cell in row["cells"][seed] if cell in cells]
    made = [Cell.model_validate_json(record.cell_json) for record in known]
    before = {stage.id for cell in made for stage in cell.lineage[:-1]}
    if not known:
        before = {
            cell
            for other in rows
            if len(other["stages"]) < len(row["stages"])
            and other["stages"] == row["stages"][: len(other["stages"])]
            and _setting(other) == _setting(row)
            for cell in other["cells"].get(seed, [])
        }
    return any(cell in cells and cells[cell].state in _ENDED for cell in before)


def _setting(row: dict[str, Any]) -> list[str]:
    """All labels but the protocol's."""
    return [row["labels"][axis] for axis in AXES if axis != "protocol"]


def _base(row: dict[str, Any], rows: list[dict[str, Any]], cells: dict[str, CellRecord]) -> int:
    """Index of the first row that holds what a row's cells start from, -1 where there is none."""
    if len(row["stages"]) < 2:
        return -1
    found = (Cell.model_validate_json(cells[id].cell_json).start for id in _ids(row) if id in cells)
    start = next(found, None)
    holders = (i for i, other in enumerate(rows) if start is not None and start.cell.id in _ids(other))
    return next(holders, -1)


def _baselines(rows: list[dict[str, Any]]) -> dict[tuple[str, ...], int]:
    """What a row has in common with its baseline -> index of the baseline."""
    found: dict[tuple[str, ...], int] = {}
    for i, row in enumerate(rows):
        if row["role"] == "baseline":
            found.setdefault(_place(row), i)
    return found


def _place(row: dict[str, Any]) -> tuple[str, ...]:
    return tuple(row["labels"][axis] for axis in _COMPARED_WITHIN)


def _any_tuning(row: dict[str, Any]) -> tuple[str, ...]:
    return tuple(row["labels"][axis] for axis in _COMPARED_WITHIN if axis != "tuning")
