"""Which rows a figure shows where there are too many to read."""

from __future__ import annotations

from collections.abc import Sequence

from mtlbench.results import Results
from mtlbench.table import tabulate


def leading(results: Results, rows: Sequence[int], limit: int) -> tuple[list[int], str]:
    """The rows with the highest delta_m, at most `limit`, in the order given; and a sentence that says so.

    Without any delta_m it is the first ones. The sentence is empty where all are shown.
    """
    if len(rows) <= limit:
        return list(rows), ""
    table = tabulate(results)
    places = [i for i, column in enumerate(table.columns) if column.name == "delta_m"]
    gains = {line.row: line.entries[i].mean for line in table.lines for i in places}
    known = {row: gain for row in rows if (gain := gains.get(row)) is not None}
    order = sorted(range(len(rows)), key=lambda i: (-known.get(rows[i], float("-inf")), i))
    chosen = [rows[i] for i in sorted(order[:limit])]
    how = (
        f"The {limit} of {len(rows)} rows with the highest Δm"
        if known
        else f"The first {limit} of {len(rows)} rows"
    )
    return chosen, f"{how} are shown."
