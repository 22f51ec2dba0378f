"""Intervals of delta_m, which carry the noise of the row and of its baseline.

The delta_m of a seed compares the row's networks of that seed with the baseline's of the same seed. Both are
drawn anew with every seed, so the spread of these values over seeds holds both sources of noise, and what the
same order of data makes them share; their t interval needs no further correction.

The same baseline is in the delta_m of all rows. A baseline that happens to be bad lifts them all: intervals
of two rows move together, and whether they overlap says nothing about the two. For that, take the difference
of their delta_m seed by seed, from which the baseline drops out but for its scale
(`mtlbench.statistics.paired`).

Coverage of this and other intervals, simulated: docs/statistics.md (`benchmarks/interval_coverage.py`).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pandas as pd

from mtlbench.results import Results
from mtlbench.statistics.groups import DELTA_M, measure
from mtlbench.statistics.intervals import interval


@lru_cache(maxsize=1)
def delta_m_intervals(results: Results, confidence: float = 0.95) -> pd.DataFrame:
    """Columns row, mean, low, high (percent; NaN with one seed), n, method: of each row that has a delta_m.

    The baseline, whose delta_m is 0 by definition, has no line. Kept for the last results: not to be changed.
    """
    found = measure(results, DELTA_M)
    lines, roles = [], results.rows["role"].to_dict()
    rows = [] if found is None else [int(row) for row in found.values.index]
    for row, known in zip(rows, [] if found is None else found.of(tuple(rows)), strict=True):
        if roles[row] == "baseline":
            continue
        got = interval(list(known[np.isfinite(known)]), confidence, method="t")
        lines.append((row, got.mean, got.low, got.high, got.n, got.method))
    frame = pd.DataFrame(lines, columns=["row", "mean", "low", "high", "n", "method"])
    return frame.astype({"low": float, "high": float})
