"""What balancers cost, and where they failed."""

from __future__ import annotations

import numpy as np
import pandas as pd

from mtlbench.entries import Entry, summarise
from mtlbench.results import Results
from mtlbench.table import Column, Table, tabulate

HEADING = "Cost of balancers"
EXPLANATION = (
    "Time that the balancer takes in a training step beyond what equal weights take (median over the logged "
    "steps after the first; where weights are kept for several steps, the mean over those), its share of the "
    "step, the most memory that task gradients took at one time, and where they were taken."
)
NOTICEABLE = 0.01
"""Share of the step from which on the cost of a balancer that needs losses only is worth a table."""
_INSTEAD = "the weights of the step before were kept"
_NUMBERS = (
    ("milliseconds", "ms a step", 1.0, 1),
    ("share", "share of step (%)", 100.0, 1),
    ("gradient_memory_mb", "gradients (MB)", 1.0, 1),
)
PLACES = {
    "": "losses only",
    "parameters": "shared parameters",
    "representation": "representation",
    "last_layer": "last shared layer",
}


def balancers(results: Results) -> Table | None:
    """A line for each row whose balancer has work to do.

    None unless there is one that works on gradients, or one whose time can be noticed.
    """
    frame = weighed(results)
    if not ((frame["at"] != "") | (frame["share"] >= NOTICEABLE) | (frame["failures"] > 0)).any():
        return None
    table = tabulate(results)
    by_row = dict(list(frame.groupby("row")))
    lines = [line for line in table.lines if line.row in by_row]
    frames = [by_row[line.row] for line in lines]
    columns = [
        (column, [line.entries[i] for line in lines])
        for i, column in enumerate(table.columns)
        if column.kind == "label"
    ]
    columns.append((Column("at", "gradients at", "label"), [Entry(_place(f)) for f in frames]))
    if (frame["every"] > 1).any():
        every = [int(f["every"].max()) for f in frames]
        texts = ["step" if n == 1 else f"{n} steps" for n in every]
        entries = [Entry(text, mean=float(n)) for text, n in zip(texts, every, strict=True)]
        columns.append((Column("every", "solved every", "cost"), entries))
    columns += [_number(frames, table.seeds, *number) for number in _NUMBERS]
    if (frame["failures"] > 0).any():
        columns.append((Column("failures", "no solution", "cost"), [_failed(f) for f in frames]))
    return table.of_columns(lines, columns)


def warnings(results: Results) -> list[str]:
    """A sentence for each row whose balancer had no solution in some steps."""
    counts = weighed(results).groupby("row")[["failures", "steps"]].sum()
    failing = {row: (int(f), int(s)) for row, f, s in counts.itertuples() if f > 0}
    names = tabulate(results).names() if failing else {}
    return [
        f"{name}: no solution in {failing[row][0]} of {failing[row][1]} steps; {_INSTEAD}."
        for row, name in names.items()
        if row in failing
    ]


def weighed(results: Results) -> pd.DataFrame:
    """Of `results.balancers`, what is not of single-task rows: those have nothing to balance."""
    candidates = results.rows.index[results.rows["role"] == "candidate"]
    return results.balancers[results.balancers["row"].isin(candidates)]


def _number(
    frames: list[pd.DataFrame], seeds: int, name: str, heading: str, scale: float, decimals: int
) -> tuple[Column, list[Entry]]:
    values = [frame[name][np.isfinite(frame[name].to_numpy(dtype=float))] * scale for frame in frames]
    spread = name != "gradient_memory_mb"  # which doesn't depend on the seed
    return Column(name, heading, "cost"), [summarise(list(v), decimals, seeds, spread=spread) for v in values]


def _place(frame: pd.DataFrame) -> str:
    at = str(frame["at"].iloc[0])
    return PLACES.get(at, at)


def _failed(frame: pd.DataFrame) -> Entry:
    failures = int(frame["failures"].sum())
    if not failures:
        return Entry("0", mean=0.0)
    return Entry(f"{failures} of {frame['steps'].sum()} steps", mean=float(failures))
