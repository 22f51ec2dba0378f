"""Every number of a grid in one tidy CSV file."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from mtlbench.balancer_table import weighed
from mtlbench.results import Results
from mtlbench.table import LABELS

_COSTS = ("parameters", "macs", "train_seconds", "images_per_second", "peak_memory_mb")
_BALANCERS = {
    "balancer_milliseconds": "milliseconds",
    "balancer_share": "share",
    "gradient_memory_mb": "gradient_memory_mb",
    "balancer_failures": "failures",
}


def csv(results: Results, folder: Path) -> list[Path]:
    """Write `scores.csv`: one line a number, unscaled and unrounded: all metrics, delta_m and costs."""
    path = folder / "scores.csv"
    tidy(results).to_csv(path, index=False)
    return [path]


def tidy(results: Results) -> pd.DataFrame:
    """Columns row, role, the labels, state, seed, task, metric, primary, value.

    `delta_m`, costs and those of balancers are lines without a task. A row that has no number keeps one line
    without a value, so that it isn't lost.
    """
    whole = {"delta_m": results.delta_m, **dict.fromkeys(_COSTS, results.costs)}
    costs = weighed(results)
    frames = [
        results.scores[["row", "seed", "task", "metric", "primary", "value"]],
        *(_numbers(frame, name) for name, frame in whole.items()),
        *(_numbers(costs.assign(**{name: costs[key]}), name) for name, key in _BALANCERS.items()),
    ]
    numbers = pd.concat([frame for frame in frames if len(frame)] or frames[:1], ignore_index=True)
    rows = results.rows[["role", *LABELS, "state"]].rename_axis("row").reset_index()
    merged = rows.merge(numbers, on="row", how="left")
    return merged.astype({"seed": "Int64"})


def _numbers(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    numbers = frame[["row", "seed"]].assign(task="", metric=name, primary=False, value=frame[name])
    return numbers[numbers["value"].notna()]
