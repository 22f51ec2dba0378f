"""Every number of a grid in one tidy CSV file."""

from __future__ import annotations

import io
from collections.abc import Iterable
from csv import writer
from functools import cache
from pathlib import Path

import pandas as pd

from mtlbench.affinity import affinity, pairs
from mtlbench.balancer_table import weighed
from mtlbench.entries import DASH
from mtlbench.layouts.main import main_table
from mtlbench.results import COSTS, Results
from mtlbench.table import LABELS, Table

_BALANCERS = {
    "balancer_milliseconds": "milliseconds",
    "balancer_share": "share",
    "gradient_memory_mb": "gradient_memory_mb",
    "balancer_failures": "failures",
}


def csv(results: Results, folder: Path) -> list[Path]:
    """Write `scores.csv`: one line a number, unscaled and unrounded: all metrics, delta_m and costs.

    `table.csv` holds the main table, line by line, in its units, unrounded, with what papers printed.
    `affinity.csv` holds the fields of the heat maps of task affinity, if there are any, with their spreads.
    """
    path, shown, gains = folder / "scores.csv", folder / "table.csv", folder / "affinity.csv"
    _save(tidy(results), path)
    of_table(main_table(results)).to_csv(shown, index=False)
    found = affinity(pairs(results))
    if found.empty:
        gains.unlink(missing_ok=True)
        return [path, shown]
    found.to_csv(gains, index=False)
    return [path, shown, gains]


def tidy(results: Results) -> pd.DataFrame:
    """Columns row, role, the labels, state, seed, task, trained (by the row), metric, primary, value.

    `delta_m`, costs and those of balancers are lines without a task. A row that has no number keeps one line
    without a value, so that it isn't lost.
    """
    whole = {"delta_m": results.delta_m, **dict.fromkeys(COSTS, results.costs)}
    costs = weighed(results)
    frames = [
        results.scores[["row", "seed", "task", "metric", "primary", "value"]],
        *(_numbers(frame, name) for name, frame in whole.items()),
        *(_numbers(costs.assign(**{name: costs[key]}), name) for name, key in _BALANCERS.items()),
    ]
    numbers = pd.concat([frame for frame in frames if len(frame)] or frames[:1], ignore_index=True)
    trained = results.rows["trained"].to_dict()
    listed = zip(numbers["row"].tolist(), numbers["task"].tolist(), strict=True)
    numbers.insert(3, "trained", [task in trained[row] if task else None for row, task in listed])
    rows = results.rows[["role", *LABELS, "state"]].rename_axis("row").reset_index()
    merged = rows.merge(numbers, on="row", how="left")
    return merged.astype({"seed": "Int64"})


def of_table(table: Table) -> pd.DataFrame:
    """A line for each line: row (-1: printed), role, published, labels, numbers, state, remark.

    A number NAME has NAME_spread (as the table's), NAME_seeds, and in printed lines NAME_gap (ours minus it,
    positive is better); columns without any such value are left out.
    """
    lines = []
    for line in table.lines:
        found: dict[str, object] = {"row": line.row, "role": line.role, "published": line.published}
        for column, entry in zip(table.columns, line.entries, strict=True):
            if column.numeric:
                found[column.name] = entry.mean
                found[f"{column.name}_spread"] = entry.std
                found[f"{column.name}_seeds"] = entry.seeds or None
                found[f"{column.name}_gap"] = entry.gap
            else:
                found[column.name] = "" if entry.value == DASH else entry.value
        lines.append({**found, "state": line.state, "remark": line.remark})
    frame = pd.DataFrame(lines)
    told = [n for n in frame if str(n).endswith(("_spread", "_seeds", "_gap")) and frame[n].isna().all()]
    seeds = [name for name in frame if str(name).endswith("_seeds")]
    return frame.astype(dict.fromkeys(seeds, "Int64")).drop(columns=told)


def _save(frame: pd.DataFrame, path: Path) -> None:
    """Write what `frame.to_csv(index=False)` would, in less time: labels are quoted once."""
    labels = ["row", "role", *LABELS, "state"]
    heads = frame.drop_duplicates("row")[labels].itertuples(index=False)
    head_of = {head.row: _quoted(head) for head in heads}
    rest = [
        frame[name].astype(object).where(frame[name].notna(), "").tolist()
        for name in frame
        if name not in labels
    ]
    quoted = cache(lambda *values: _quoted(values))
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(f"{','.join(frame.columns)}\n")
        file.writelines(
            f"{head_of[row]},{seed},{quoted(*kinds)},{value}\n"
            for row, seed, *kinds, value in zip(frame["row"].tolist(), *rest, strict=True)
        )


def _quoted(values: Iterable[object]) -> str:
    """A line of CSV without its end."""
    text = io.StringIO()
    writer(text, lineterminator="").writerow(values)
    return text.getvalue()


def _numbers(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    numbers = frame[["row", "seed"]].assign(task="", metric=name, primary=False, value=frame[name])
    return numbers[numbers["value"].notna()]
