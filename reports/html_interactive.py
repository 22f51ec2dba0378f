"""What the page's script draws figures from that can be asked: numbers of rows, and curves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import pandas as pd
from markupsafe import Markup

from mtlbench.results import Results
from mtlbench.statistics.delta_m import delta_m_intervals
from mtlbench.table import Line, Table, tabulate, valid_delta_m

from .figures import curves, validation, weights
from .figures.style import PALETTE
from .html_packing import compact, packed

MOST_CURVES = 60
"""Rows whose curves are in the page: more can't be told apart, and would make it heavy."""
_COSTS = {
    "macs": ("GMACs", 1e-9),
    "parameters": ("parameters (M)", 1e-6),
    "train_seconds": ("training (min)", 1 / 60),
    "images_per_second": ("images per second in training", 1.0),
    "peak_memory_mb": ("peak memory (MB)", 1.0),
}


def library() -> Markup | None:
    """The script of plotly, compressed; None where plotly is not installed."""
    if find_spec("plotly") is None:
        return None
    from plotly.offline import get_plotlyjs

    return packed(get_plotlyjs())


FIGURES = ("delta_m", "cost", "losses", "weights", "validation")
"""What can be asked where there are data."""
_A_LINE = "by training step; a line a row, the mean over its seeds"
CAPTIONS = {
    "cost": "A point a row, the mean over its seeds; what is up and what is right can be chosen.",
    "losses": f"Training loss of each task, unweighted, {_A_LINE}.",
    "weights": f"Weight of each task, {_A_LINE}.",
    "validation": f"Scores on the way, {_A_LINE}.",
}
"""Of those that show something else than the picture of that name, or have none."""


def drawable(data: dict[str, Any], names: Sequence[str]) -> list[str]:
    """Of `FIGURES` those that `data` is enough for: figures of these names, and any that have no picture."""
    curves_of = [name for name in ("losses", "weights", "validation") if name in data]
    return [name for name in FIGURES if name in curves_of or (name in names and data["measures"])]


def data(results: Results) -> dict[str, Any]:
    """Rows in the order of the table, with names, seeds' numbers and intervals; and curves by kind and task.

    Figures that have no data are left out.
    """
    table = tabulate(results)
    lines = [line for line in table.lines if not line.published]
    rows = [
        {"name": table.name(line), "role": line.role, "balancer": _label(table, line, "balancer")}
        for line in lines
    ]
    order = [line.row for line in lines]
    measures = _measures(results, order)
    costs = _costs(results.costs, order)
    intervals = _intervals(results, order)
    found: dict[str, Any] = {
        "rows": rows,
        "palette": PALETTE,
        "measures": measures,
        "costs": costs,
        "intervals": intervals,
    }
    first = order[:MOST_CURVES]
    panels = {
        "losses": curves.prepare(results, "loss", _of_rows(results.losses, first)),
        "weights": curves.prepare(results, "weight", _of_rows(weights.changing(results), first)),
        "validation": curves.prepare(results, "value", _of_rows(validation.as_shown(results), first)),
    }
    found |= {kind: _lines(tasks) for kind, tasks in panels.items() if tasks}
    packed_numbers: dict[str, Any] = compact(found, 4)
    return packed_numbers


def _label(table: Table, line: Line, name: str) -> str:
    """A row's label, empty where the table has no such column."""
    pairs = zip(table.columns, line.entries, strict=True)
    return next((entry.value for column, entry in pairs if column.name == name), "")


def _measures(results: Results, order: list[int]) -> list[dict[str, Any]]:
    """Δm, then the tasks: heading, direction, and for each row (seed, value) pairs."""
    found = []
    if not results.delta_m.empty:
        values = _by_row(valid_delta_m(results), "delta_m", order)
        found.append({"name": "delta_m", "heading": "Δm (%)", "higher": True, "values": values})
    for task in results.tasks:
        scores = results.scores
        chosen = scores[(scores["task"] == task.name) & scores["primary"].astype(bool)]
        heading = f"{task.name} {task.heading}"
        values = _by_row(chosen, "value", order, task.scale)
        found.append(
            {"name": task.name, "heading": heading, "higher": task.higher_is_better, "values": values}
        )
    return found


def _intervals(results: Results, order: list[int]) -> list[list[float] | None]:
    """Of each row's Δm (95 %): low and high, None where there are too few seeds."""
    found = delta_m_intervals(results)
    ends = {
        int(row): [low, high]
        for row, low, high in zip(found["row"], found["low"], found["high"], strict=True)
        if math.isfinite(low)
    }
    return [ends.get(row) for row in order]


def _costs(costs: pd.DataFrame, order: list[int]) -> list[dict[str, Any]]:
    """Of each row the mean over seeds."""
    found = []
    for name, (heading, scale) in _COSTS.items():
        pairs = _by_row(costs, name, order, scale)
        means = [sum(value for _, value in of_row) / len(of_row) if of_row else None for of_row in pairs]
        if any(mean is not None for mean in means):
            found.append({"name": name, "heading": heading, "values": means})
    return found


def _by_row(
    frame: pd.DataFrame, column: str, order: list[int], scale: float = 1.0
) -> list[list[list[float]]]:
    """Of each row its seeds' (seed, value), finite ones only."""
    found: dict[int, list[list[float]]] = {row: [] for row in order}
    values = frame[column].to_numpy(dtype=float) * scale
    for row, seed, value in zip(frame["row"].tolist(), frame["seed"].tolist(), values.tolist(), strict=True):
        if row in found and math.isfinite(value):
            found[row].append([seed, value])
    return [found[row] for row in order]


def _of_rows(frame: pd.DataFrame, rows: Sequence[int]) -> pd.DataFrame:
    return frame[frame["row"].isin(rows)]


def _lines(panels: curves.Panels) -> dict[str, list[dict[str, Any]]]:
    """Task -> curves of rows: places in the table, steps, means over seeds, lowest and highest seed."""
    return {
        task: [
            {
                "place": curve.place,
                "step": curve.step.tolist(),
                "mean": curve.mean.tolist(),
                "low": curve.low.tolist(),
                "high": curve.high.tolist(),
            }
            for curve in found
        ]
        for task, found in panels.items()
    }
