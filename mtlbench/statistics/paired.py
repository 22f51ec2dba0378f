"""Pairs of rows compared on the seeds that both have."""

from __future__ import annotations

from functools import lru_cache
from itertools import product

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from mtlbench.results import Results
from mtlbench.statistics.groups import COMPARED_WITHIN, Group, Measure, groups, measures, ranking
from mtlbench.statistics.intervals import ROUNDING

CONFIDENCE = 0.95
MOST_PAIRS = 200
"""Of one group and measure: where there are more, only those with the best row are listed."""
COLUMNS = (
    *COMPARED_WITHIN,
    "measure",
    "a",
    "b",
    "difference",
    "low",
    "high",
    "p",
    "p_holm",
    "p_exact",
    "n",
    "smallest_p",
    "family",
)
_EXACT_UP_TO = 12
"""Seeds up to which all 2^n signs are tried; beyond, as many random ones as `_RESAMPLES`."""
_RESAMPLES = 9999
_TIES = 1e-12
"""Share of the summed sizes of differences by which two of their sums may differ by rounding alone."""


@lru_cache(maxsize=1)
def comparisons(results: Results) -> pd.DataFrame:
    """A line for each pair of candidates that are compared, in each measure that both have.

    Columns: the labels of `groups.COMPARED_WITHIN`; measure (`delta_m` or a task); a, b (rows; a is the one
    that is better on their common seeds); difference (mean over those, in the table's units, positive: a is
    better) with its t interval low to high; p (paired t test); p_holm (after Holm's correction over all
    pairs of the group in this measure); p_exact (sign-flip test, uncorrected); n (common seeds); smallest_p
    that the exact test can give with n seeds; family (pairs that the correction counts). What can't be known
    is NaN: intervals and p with one seed, p and p_holm where all seeds differ by the same amount.

    More than `MOST_PAIRS` pairs: only those with the best row are listed, still corrected for all.

    Kept for the last results: not to be changed.
    """
    frames = [_compare(group, found) for group in groups(results) for found in measures(results)]
    frames = [frame for frame in frames if len(frame)]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=[*COLUMNS])


def holm(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Adjusted p-values (Holm, Scandinavian Journal of Statistics 1979); NaN stay and don't count."""
    adjusted = np.full(len(p), np.nan)
    known = np.flatnonzero(np.isfinite(p))
    order = known[np.argsort(p[known], kind="stable")]
    steps = p[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return adjusted


def sign_flip(differences: NDArray[np.float64]) -> NDArray[np.float64]:
    """Two-sided p of (pairs, seeds) differences: how often random signs give as large a mean.

    Exact up to `_EXACT_UP_TO` seeds.
    """
    seeds = differences.shape[1]
    if seeds <= _EXACT_UP_TO:
        return np.concatenate(
            [_all_signs(part) for part in np.array_split(differences, len(differences) // 500 + 1)]
        )
    from scipy import stats  # takes long to load

    found = stats.permutation_test(
        (differences,),
        np.mean,
        permutation_type="samples",
        vectorized=True,
        n_resamples=_RESAMPLES,
        batch=max(1, 10_000_000 // differences.size),
        axis=-1,
        rng=np.random.default_rng(0),
    )
    return np.asarray(found.pvalue, dtype=float)


def _all_signs(differences: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same over all 2^n signs of n seeds, half of which mirror the others."""
    signs = np.array([*product((1.0, -1.0), repeat=differences.shape[1])])
    sums = np.abs(differences @ signs.T)  # the first has the signs as they are
    rounding = _TIES * np.abs(differences).sum(axis=1, keepdims=True)
    return (sums >= sums[:, :1] - rounding).mean(axis=1)


def _compare(group: Group, measure: Measure) -> pd.DataFrame:
    """All pairs of a group in one measure."""
    rows = np.array([row for row in group.candidates if row in measure.values.index], dtype=int)
    if len(rows) < 2:
        return pd.DataFrame(columns=[*COLUMNS])
    values = measure.sign * measure.of(tuple(rows))
    first, second = np.triu_indices(len(rows), k=1)
    difference = values[first] - values[second]
    found = _tests(difference, size=float(np.nanmax(np.abs(values))))
    frame = pd.DataFrame({"a": rows[first], "b": rows[second], **found})
    frame["p_holm"] = holm(found["p"])
    frame["family"] = int(np.isfinite(found["p"]).sum())
    listed = (frame["n"] > 0).to_numpy()
    if listed.sum() > MOST_PAIRS:
        best = ranking(measure, tuple(rows))[0]
        listed = listed & ((frame["a"] == best) | (frame["b"] == best)).to_numpy()
    frame = frame[listed].assign(p_exact=_exact(difference[listed]), measure=measure.name)
    labels = dict(zip(COMPARED_WITHIN, group.labels, strict=True))
    return _better_first(frame).assign(**labels)[[*COLUMNS]]


def _tests(difference: NDArray[np.float64], size: float) -> dict[str, NDArray[np.float64]]:
    """Of (pairs, seeds) differences: mean, t interval and t test of each pair on the seeds it has.

    `size` of the values that were subtracted tells what is rounding.
    """
    known = np.isfinite(difference)
    n = known.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(known, difference, 0).sum(axis=1) / n
        apart = np.where(known, np.abs(difference - mean[:, None]), 0)
        error = np.where(n > 1, np.sqrt((apart**2).sum(axis=1) / (n - 1) / n), np.nan)
        freedom = np.maximum(n - 1, 1)
        reach = stdtrit(freedom, (1 + CONFIDENCE) / 2) * error
        p = 2 * stdtr(freedom, -np.abs(mean / error))
    alike = (n > 1) & (apart.max(axis=1) <= ROUNDING * size)
    p[alike] = np.where(np.abs(mean[alike]) <= ROUNDING * size, 1.0, np.nan)
    smallest = np.where(n > 1, 2.0 ** (1 - n), np.nan)
    return {
        "difference": mean,
        "low": mean - reach,
        "high": mean + reach,
        "p": p,
        "n": n,
        "smallest_p": smallest,
    }


def _exact(difference: NDArray[np.float64]) -> NDArray[np.float64]:
    """`sign_flip` of pairs on the seeds that each has; NaN with fewer than two."""
    found = np.full(len(difference), np.nan)
    known = np.isfinite(difference)
    counts = known.sum(axis=1)
    for n in np.unique(counts[counts > 1]):
        chosen = counts == n
        found[chosen] = sign_flip(difference[chosen][known[chosen]].reshape(-1, n))
    return found


def _better_first(frame: pd.DataFrame) -> pd.DataFrame:
    """Each pair turned so that its difference is not negative."""
    turned = (frame["difference"] < 0).to_numpy()
    a, b, low, high = (frame[name].to_numpy() for name in ("a", "b", "low", "high"))
    return frame.assign(
        a=np.where(turned, b, a),
        b=np.where(turned, a, b),
        difference=frame["difference"].abs(),
        low=np.where(turned, -high, low),
        high=np.where(turned, -low, high),
    )
