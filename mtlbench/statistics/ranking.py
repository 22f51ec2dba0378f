"""Which settings rank best over many problems (Demšar, JMLR 2006)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import chdtrc, ndtr

from mtlbench.results import Results
from mtlbench.statistics.groups import DELTA_M, measures
from mtlbench.table import LABELS

LEVEL = 0.05
RESAMPLES = 2000
FEWEST_COMPETITORS, FEWEST_PROBLEMS = 3, 2
_PLACE = ("dataset", "backbone")


@dataclass(frozen=True, eq=False)
class Ranks:
    """Mean ranks over problems; 1 is best.

    Attributes:
        frame: a line for each competitor, best first: name, rows (tuple, one a data set and backbone), rank
            (mean over problems), low, high (95 % percentile interval over seeds; NaN with one seed).
        problems: (data set, backbone, task) of each problem.
        seeds: over which scores were averaged before they were ranked.
        p: of Friedman's test that all rank alike; None where all scores are ties.
        critical: difference of mean ranks from which on two differ by Nemenyi's test at 5 %.
        alike: ranges of places in `frame` (first, last) that are not told apart, each as long as it can be.
        left_out: name -> why a competitor is not ranked.
    """

    frame: pd.DataFrame
    problems: tuple[tuple[str, str, str], ...]
    seeds: int
    p: float | None
    critical: float
    alike: tuple[tuple[int, int], ...]
    left_out: dict[str, str]


@lru_cache(maxsize=1)
def ranks(results: Results) -> Ranks | None:
    """Mean ranks of the grid's settings over its problems; None for fewer than three, or one problem.

    A competitor is what candidates on several data sets and backbones have in common: the method, and those
    of balancer, tuning, recipe and protocol that tell rows of one place apart. A problem is a task of a data
    set with a backbone; its scores are means over seeds. Who lacks a score of any problem and seed is left
    out: a mean over fewer problems is another number.
    """
    scores = _Scores.of(results)
    complete = np.isfinite(scores.values).all(axis=(1, 2))
    if complete.sum() < FEWEST_COMPETITORS or len(scores.problems) < FEWEST_PROBLEMS:
        return None
    kept = np.flatnonzero(complete)
    values = scores.values[kept]
    mean = _mean_ranks(values.mean(axis=2)[None])[0]
    low, high = _over_seeds(values)
    frame = pd.DataFrame(
        {
            "name": [scores.names[i] for i in kept],
            "rows": [scores.rows[i] for i in kept],
            "rank": mean,
            "low": low,
            "high": high,
        }
    ).sort_values("rank", kind="stable", ignore_index=True)
    p = _friedman(values.mean(axis=2))
    critical = critical_difference(len(kept), len(scores.problems))
    return Ranks(
        frame=frame,
        problems=scores.problems,
        seeds=values.shape[2],
        p=p,
        critical=critical,
        alike=_alike(frame["rank"].to_numpy(), critical if p is not None and p < LEVEL else math.inf),
        left_out={scores.names[i]: scores.missing(int(i)) for i in np.flatnonzero(~complete)},
    )


def critical_difference(competitors: int, problems: int) -> float:
    """Nemenyi's critical difference of mean ranks at 5 %: q sqrt(k (k + 1) / (6 N))."""
    q = range_quantile(1 - LEVEL, competitors) / math.sqrt(2)
    return q * math.sqrt(competitors * (competitors + 1) / (6 * problems))


def range_quantile(probability: float, k: int) -> float:
    """Of the range of k standard normal values, whose distribution is k ∫ φ(z) (Φ(z) - Φ(z - q))^(k-1) dz.

    As `scipy.stats.studentized_range`, whose module takes seconds to load.
    """
    z = np.linspace(-9, 9, 2001)  # a sum of equal steps is as exact as doubles for what is so smooth
    density = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi) * (z[1] - z[0])
    low, high = 0.0, 18.0
    while high - low > 1e-12:
        q = (low + high) / 2
        reached = k * (density * (ndtr(z) - ndtr(z - q)) ** (k - 1)).sum()
        low, high = (q, high) if reached < probability else (low, q)
    return high


@dataclass(frozen=True, eq=False)
class _Scores:
    """Of all competitors.

    Attributes:
        values: (competitors, problems, seeds), higher is better; NaN where there is none.
    """

    names: list[str]
    rows: list[tuple[int, ...]]
    problems: tuple[tuple[str, str, str], ...]
    values: NDArray[np.float64]

    @classmethod
    def of(cls, results: Results) -> _Scores:
        rows = results.rows[results.rows["role"] == "candidate"]
        competitors = {
            " · ".join(str(label) for label in labels if label not in ("", "-")): {
                (dataset, backbone): int(row) for row, dataset, backbone in members[[*_PLACE]].itertuples()
            }
            for labels, members in rows.groupby(_telling(rows), sort=False, dropna=False)
        }
        tasks = [found for found in measures(results) if found.name != DELTA_M]
        problems = [
            (str(place[0]), str(place[1]), task)
            for place, members in rows.groupby([*_PLACE], sort=False)
            for task in tasks
            if task.values.index.isin(members.index).any()
        ]
        seeds = sorted({int(seed) for task in tasks for seed in task.values.columns})
        values = np.full((len(competitors), len(problems), len(seeds)), np.nan)
        for j, (dataset, backbone, task) in enumerate(problems):
            of_rows = [places.get((dataset, backbone), -1) for places in competitors.values()]
            values[:, j] = task.sign * task.values.reindex(index=of_rows, columns=seeds).to_numpy(dtype=float)
        return cls(
            names=list(competitors),
            rows=[tuple(places.values()) for places in competitors.values()],
            problems=tuple((dataset, backbone, task.name) for dataset, backbone, task in problems),
            values=values,
        )

    def missing(self, competitor: int) -> str:
        """Why a competitor is left out."""
        missing = ~np.isfinite(self.values[competitor])
        without = [self.problems[j] for j in np.flatnonzero(missing.all(axis=1))]
        if without:
            tasks = ", ".join(dict.fromkeys(task for _, _, task in without))
            return f"no score in {len(without)} of {len(self.problems)} problems ({tasks})"
        return f"lacks seeds in {missing.any(axis=1).sum()} of {len(self.problems)} problems"


def _telling(rows: pd.DataFrame) -> list[str]:
    """The method, and the labels that differ between rows of one data set and backbone."""
    within = rows.groupby([*_PLACE], sort=False)
    return ["method"] + [
        label
        for label in LABELS
        if label not in (*_PLACE, "method") and (within[label].nunique(dropna=False) > 1).any()
    ]


def _mean_ranks(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """(R, competitors, problems) higher is better -> (R, competitors); ties share their mean rank."""
    resamples, competitors, problems = scores.shape
    columns = pd.DataFrame(-scores.transpose(1, 0, 2).reshape(competitors, -1))
    ranked: NDArray[np.float64] = columns.rank().to_numpy().reshape(competitors, resamples, problems)
    return ranked.mean(axis=2).T


def _over_seeds(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Bounds of each competitor's mean rank, over resamples of seeds that are the same for all."""
    competitors, _, seeds = values.shape
    if seeds < 2:
        return np.full(competitors, np.nan), np.full(competitors, np.nan)
    rng = np.random.default_rng(0)
    weights = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=RESAMPLES) / seeds
    found = np.concatenate(
        [_mean_ranks(np.einsum("kps,rs->rkp", values, w)) for w in np.array_split(weights, 20)]
    )
    low, high = np.percentile(found, (2.5, 97.5), axis=0)
    return low, high


def _friedman(scores: NDArray[np.float64]) -> float | None:
    """The test's p of (competitors, problems) scores; None where all are ties."""
    if (np.ptp(scores, axis=0) == 0).all():
        return None
    k, n = scores.shape
    rank = _mean_ranks(scores[None])[0]
    ties = sum((count**3 - count).sum() for count in (np.unique(c, return_counts=True)[1] for c in scores.T))
    spread = 12 * n / (k * (k + 1)) * ((rank - (k + 1) / 2) ** 2).sum()
    return float(chdtrc(k - 1, spread / (1 - ties / (n * (k**3 - k)))))


def _alike(rank: NDArray[np.float64], critical: float) -> tuple[tuple[int, int], ...]:
    """Longest ranges of sorted ranks that lie within the critical difference of each other."""
    found: list[tuple[int, int]] = []
    for first in range(len(rank)):
        last = int(np.flatnonzero(rank - rank[first] <= critical)[-1])
        if last > first and (not found or last > found[-1][1]):
            found.append((first, last))
    return tuple(found)
