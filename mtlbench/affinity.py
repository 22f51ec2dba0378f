"""Task affinity: what tasks gain or lose from being learned together, as the finished networks show it.

For two networks of one setting and seed, of which one learned the tasks B and the other A = B + {s}, the gain
of a task t of B is the relative change of its primary metric from B to A in percent, positive = better: the
delta_m of t alone (`mtlbench.delta_m`) with B's network as baseline. The affinity s -> t is the
mean of these gains over all such pairs of networks, of all settings and seeds of a data set. It is directed,
and missing where no pair was trained.

This measures the outcome of training, as Standley et al., "Which Tasks Should Be Learned Together in
Multi-task Learning?", ICML 2020, do with networks for all sets of tasks. It is no proxy from gradients such
as the inter-task affinity of Fifty et al., "Efficiently Identifying Task Groupings for Multi-Task Learning"
(TAG), NeurIPS 2021, which one joint run gives.

Two kinds are kept apart:

* `together`: both networks were trained in one stage, from the start.
* `added`: A's network went on from B's with the loss of s. It was trained for longer, so its gains are not
  those of s alone.

A network of a single task has nothing to balance, and is the same for all balancers. Of a multi-task method
the network of that method and task is taken where there is one, else the single-task baseline. That is
another architecture, so the gain is also the method's: an affinity is made of such pairs only where there are
no others, and says so (`same_method` is false).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import chain, groupby
from typing import Any, Literal

import pandas as pd

from mtlbench.delta_m import delta_m
from mtlbench.results import Results

Kind = Literal["together", "added"]
_SETTING = ("dataset", "backbone", "tuning", "recipe")
KINDS: tuple[Kind, ...] = ("together", "added")
PAIRS = ("dataset", "kind", "source", "target", "seed", "smaller", "larger", "same_method", "gain")
AFFINITY = ("dataset", "kind", "source", "target", "mean", "std", "pairs", "same_method")


@dataclass(frozen=True)
class Network:
    """One trained network: the tasks that it learned, stage by stage, and the scores of those.

    Attributes:
        setting: data set, backbone, tuning, recipe; and the seed.
        of_row: how many networks its row has for a seed.
        base: row of the network that it went on from, or -1.
    """

    row: int
    role: str
    setting: tuple[str | int, ...]
    method: str
    balancer: str
    stages: tuple[frozenset[str], ...]
    of_row: int
    base: int
    scores: Mapping[str, float]

    @cached_property
    def learned(self) -> frozenset[str]:
        return frozenset().union(*self.stages)


@lru_cache(maxsize=1)
def pairs(results: Results) -> pd.DataFrame:
    """A line for each gain, with the columns `PAIRS`; smaller and larger are rows of the results."""
    directions = {task.name: task.higher_is_better for task in results.tasks}
    lines = []
    ordered = sorted(_networks(results), key=lambda network: network.setting)
    for (dataset, *_, seed), group in groupby(ordered, key=lambda network: network.setting):
        of_tasks: dict[frozenset[str], list[Network]] = {}
        for network in group:
            of_tasks.setdefault(network.learned, []).append(network)
        for larger in chain(*of_tasks.values()):
            less = [n for task in sorted(larger.learned) for n in of_tasks.get(larger.learned - {task}, ())]
            for smaller, kind in _partners(larger, less):
                (source,) = larger.learned - smaller.learned
                same = smaller.method == larger.method
                for target in directions:
                    gain = _gain(smaller, larger, target, directions)
                    if gain is not None:
                        rows = (smaller.row, larger.row)
                        lines.append((dataset, kind, source, target, seed, *rows, same, gain))
    return pd.DataFrame(lines, columns=list(PAIRS))


def affinity(found: pd.DataFrame) -> pd.DataFrame:
    """Mean gain, sample standard deviation (NaN of one) and number of pairs, with the columns `AFFINITY`."""
    keys = ["dataset", "kind", "source", "target"]
    same = found["same_method"].astype(bool)
    used = found[same | ~same.groupby([found[key] for key in keys]).transform("any")]
    grouped = used.groupby(keys, sort=False)
    summary = grouped.agg(
        mean=("gain", "mean"),
        std=("gain", "std"),
        pairs=("gain", "count"),
        same_method=("same_method", "all"),
    ).reset_index()
    return summary[list(AFFINITY)]


def _networks(results: Results) -> Iterator[Network]:
    """All but references, which learn nothing; networks under two labels count once."""
    primary = results.scores[results.scores["primary"].astype(bool)]
    scores: dict[tuple[int, int], dict[str, float]] = {}
    for row, seed, task, value in primary[["row", "seed", "task", "value"]].itertuples(index=False):
        if math.isfinite(value):
            scores.setdefault((row, seed), {})[task] = value
    learning = results.rows[(results.rows["role"] != "reference") & ~results.rows["cells"].duplicated()]
    rows: dict[Any, dict[Any, Any]] = {row: of_row.to_dict() for row, of_row in learning.iterrows()}
    for (row, seed), found in scores.items():
        if row not in rows:
            continue
        of_row = rows[row]
        stages = tuple(frozenset(stage) for stage in of_row["stages"])
        several = of_row["networks"] > 1
        for part in [(frozenset({task}),) for task in of_row["trained"]] if several else [stages]:
            yield Network(
                row=int(row),
                role=of_row["role"],
                setting=(*(of_row[name] for name in _SETTING), int(seed)),
                method=of_row["method"],
                balancer=of_row["balancer"],
                stages=part,
                of_row=of_row["networks"],
                base=of_row["base"],
                scores=found,
            )


def _partners(larger: Network, less: list[Network]) -> Iterator[tuple[Network, Kind]]:
    """Of the networks of one task less those that a network is compared with."""
    if len(larger.stages) > 1:
        yield from ((n, "added") for n in less if n.row == larger.base and n.stages == larger.stages[:-1])
        return
    less = [n for n in less if len(n.stages) == 1]
    for task in sorted(larger.learned) if len(larger.learned) == 2 else []:
        single = _single(larger, [n for n in less if n.learned == {task}])
        if single:
            yield single, "together"
    same = (larger.method, larger.balancer)
    if len(larger.learned) > 2:
        yield from ((n, "together") for n in less if (n.method, n.balancer) == same)


def _single(larger: Network, networks: list[Network]) -> Network | None:
    """The network of one task: of the same method, at best with the same balancer, else the baseline."""
    own = [n for n in networks if n.method == larger.method]
    best = [n for n in own if n.balancer == larger.balancer]
    others = [n for n in networks if n.role == "baseline"] + [n for n in networks if n.of_row > 1]
    return next(iter((*best, *own, *others)), None)


def _gain(smaller: Network, larger: Network, target: str, directions: Mapping[str, bool]) -> float | None:
    """None where the smaller network did not learn the target, a score is missing, or the smaller's is 0."""
    before, after = smaller.scores.get(target), larger.scores.get(target)
    if target not in smaller.learned or not before or after is None:
        return None
    return delta_m(larger.scores, smaller.scores, {target: directions[target]})
