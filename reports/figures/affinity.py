"""What each task gains from each other one: heat maps of task affinity."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from mtlbench.affinity import KINDS, Kind, affinity, pairs
from mtlbench.entries import number
from mtlbench.results import Results

from . import matrix
from .chart import Chart
from .matrix import Labels, Matrix

_TITLES: dict[Kind, str] = {"together": "trained together", "added": "added later"}
_READING = (
    "What the task of a line gains (blue) or loses (red), in percent of its metric, where the task of the "
    "column is learned too: mean over pairs of networks that differ in this task, seeds counted one by one; "
    "below it the number of pairs. Grey: never measured. These are outcomes of training, no gradients."
)
_MIXED = (
    "*: against single-task networks of another architecture, for want of the method's own, so that the gain "
    "is also the method's."
)
_ADDED = "Added later: the network went on from the smaller one, and so was trained for longer."
_SMALLEST_LIMIT = 0.5  # percent: noise should look pale


@dataclass(frozen=True)
class AffinityMap:
    """Targets x sources, NaN where no pair was measured; mixed: against another architecture."""

    kind: Kind
    tasks: tuple[str, ...]
    mean: np.ndarray
    pairs: np.ndarray
    mixed: np.ndarray


def charts(results: Results) -> list[Chart]:
    """One chart for each data set that has pairs of networks of which one learned one task more."""
    gains = pairs(results)
    found = []
    datasets = list(dict.fromkeys(gains["dataset"]))
    for i, dataset in enumerate(datasets, start=1):
        of_dataset = gains[gains["dataset"] == dataset]
        several = len(datasets) > 1
        name = f"affinity_{i}" if several else "affinity"
        title = f"Task affinity on {dataset}" if several else "Task affinity"
        maps = prepare(of_dataset, [task.name for task in results.tasks])
        found.append(Chart(name, title, _caption(maps), partial(draw, maps)))
    return found


def prepare(gains: pd.DataFrame, order: list[str]) -> list[AffinityMap]:
    """A map for each kind that one data set's gains hold, with the same tasks."""
    summary = affinity(gains)
    used = {*summary["source"], *summary["target"]}
    tasks = [task for task in order if task in used]
    maps = []
    for kind in KINDS:
        of_kind = summary[summary["kind"] == kind]
        if not of_kind.empty:
            mean, count, same = (
                of_kind.pivot(index="target", columns="source", values=name)
                .reindex(index=tasks, columns=tasks)
                .to_numpy(float)
                for name in ("mean", "pairs", "same_method")
            )
            maps.append(AffinityMap(kind, tuple(tasks), mean, count, same == 0))
    return maps


def draw(maps: list[AffinityMap]) -> Figure:
    """The maps side by side with one colour scale."""
    labels = Labels(maps[0].tasks, "learned too", "task that gains", "gain (%)")
    shown = [Matrix(_TITLES[found.kind], found.mean, _texts(found)) for found in maps]
    return matrix.draw(shown, labels, smallest_limit=_SMALLEST_LIMIT)


def _texts(found: AffinityMap) -> np.ndarray:
    """The mean, a star where it is against another architecture, and the number of pairs."""
    texts = np.full(found.mean.shape, "", dtype=object)
    for place in map(tuple, np.argwhere(np.isfinite(found.mean))):
        mean, mark = found.mean[place], "*" if found.mixed[place] else ""
        value = number(mean, 2 if abs(mean) < 10 else 1, signed=True)
        texts[place] = f"{value}{mark}\nn = {found.pairs[place]:.0f}"
    return texts


def _caption(maps: list[AffinityMap]) -> str:
    added = [_ADDED] if maps[-1].kind == "added" else []
    return " ".join([_READING, *added, *([_MIXED] if any(found.mixed.any() for found in maps) else [])])
