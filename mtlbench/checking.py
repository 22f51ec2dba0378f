"""What `mtlbench data check` says of a data set: findings, and those that any data set's samples give."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from mtlbench.errors import DataError
from mtlbench.ignored import IGNORE
from mtlbench.labels import ClassMap, Normals, unit_normals
from mtlbench.tasks import Task, Tasks

if TYPE_CHECKING:
    from mtlbench.data import Dataset

State = Literal["ok", "unusual", "damaged"]
Progress = Callable[[int], None]
"""Called with the number of things done since the last call."""
THREADS = 2
THUMBNAIL = 8
"""Pixels a side of what pictures are compared by."""


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        what: was looked at.
        found: what there was, with paths and numbers; where it is not "ok" also what would be right.
        state: "ok"; "unusual": to be looked at, but usable; "damaged": must not be used.
    """

    what: str
    found: str
    state: State = "ok"


def check_splits(splits: Sequence[Dataset], count: int | None, progress: Progress) -> list[Finding]:
    """Read samples of each split and sum up what they hold; look for pictures that two splits share.

    Args:
        splits: with all their tasks.
        count: how many samples of each, evenly spaced; None: all.
        progress: hears of every sample.
    """
    findings, seen = [], []
    for dataset in splits:
        found, thumbnails = _check_samples(dataset, count, progress)
        findings += found
        seen.append(thumbnails)
    shared = set.intersection(*seen)
    if shared:
        names = " and ".join(dataset.split for dataset in splits)
        text = f"{len(shared)} pictures look the same in {names}, maybe mirrored"
        findings.append(Finding("splits", text, "unusual"))
    return findings


def _check_samples(
    dataset: Dataset, count: int | None, progress: Progress
) -> tuple[list[Finding], set[bytes]]:
    """The findings of one split, and thumbnails of its pictures."""
    title = dataset.split
    wanted = min(len(dataset) if count is None else count, len(dataset))
    whole = wanted == len(dataset)
    indices = np.unique(np.linspace(0, len(dataset) - 1, wanted).astype(int)).tolist()
    findings: list[Finding] = []
    summary, looked = _Summary(dataset), 0
    for result in _read(dataset, indices):
        looked += 1
        progress(1)
        if isinstance(result, DataError):
            findings.append(Finding(f"{title}: sample", str(result), "damaged"))
        else:
            summary.add(result)
    of = "all" if whole else f"{looked} of {len(dataset)}"
    if summary.images:
        findings = [*summary.findings(title, of, whole), *findings]
    return findings, summary.thumbnails


def _read(dataset: Dataset, indices: Sequence[int]) -> Iterator[_Look | DataError]:
    def one(index: int) -> _Look | DataError:
        try:
            return _Look.at(dataset[index], dataset.tasks)
        except DataError as error:
            return error

    with ThreadPoolExecutor(THREADS) as pool:
        yield from pool.map(one, indices)


@dataclass(frozen=True)
class _Look:
    """What is kept of one sample."""

    name: str
    size: tuple[int, int]
    constant: bool
    thumbnail: bytes
    labels: dict[str, _Label]

    @classmethod
    def at(cls, sample: dict[str, Any], tasks: Tasks) -> _Look:
        image = sample["image"].as_subclass(Tensor)
        return cls(
            name=sample["id"],
            size=tuple(image.shape[-2:]),
            constant=bool((image == image[:, :1, :1]).all()),
            thumbnail=min(_thumbnail(image), _thumbnail(image.flip(-1))),  # the same for its mirror image
            labels={
                name: _Label.of(sample[name].as_subclass(Tensor), task)
                for name, task in tasks.items()
                if name in sample
            },
        )


@dataclass(frozen=True)
class _Label:
    """What is kept of one label: pixels, valid ones, classes or range of values."""

    pixels: int
    valid: int
    classes: np.ndarray | None = None
    low: float = float("inf")
    high: float = float("-inf")

    @classmethod
    def of(cls, label: Tensor, task: Task) -> _Label:
        if task.label_type is ClassMap:
            counts = np.bincount(label.flatten().numpy(), minlength=256)
            return cls(label.numel(), label.numel() - int(counts[IGNORE]), counts)
        if task.label_type is Normals:
            vectors = unit_normals(label)
            valid = (vectors != 0).any(0)
            return cls(valid.numel(), int(valid.sum()), None, *_range(vectors[2][valid]))
        return cls(label.numel(), int((label > 0).sum()), None, *_range(label[label > 0]))


def _range(values: Tensor) -> tuple[float, float]:
    return (float(values.min()), float(values.max())) if values.numel() else (float("inf"), float("-inf"))


def _thumbnail(image: Tensor) -> bytes:
    """A checksum of a small grey version: equal for equal pictures."""
    small = torch.nn.functional.adaptive_avg_pool2d(image.float().mean(0)[None, None], THUMBNAIL)
    return hashlib.sha256((small / 4).round().to(torch.uint8).numpy().tobytes()).digest()[:16]


@dataclass
class _Summary:
    dataset: Dataset
    images: int = 0
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    constant: list[str] = field(default_factory=list)
    thumbnails: set[bytes] = field(default_factory=set)
    labels: dict[str, list[_Label]] = field(default_factory=dict)

    def add(self, look: _Look) -> None:
        self.images += 1
        self.sizes[look.size] += 1
        self.thumbnails.add(look.thumbnail)
        if look.constant:
            self.constant.append(look.name)
        for name, label in look.labels.items():
            self.labels.setdefault(name, []).append(label)

    def findings(self, title: str, of: str, whole: bool) -> Iterator[Finding]:
        yield Finding(f"{title}: pictures", f"{of} read, {_sizes(self.sizes)}")
        if self.constant:
            yield Finding(f"{title}: pictures", f"one colour all over: {_some(self.constant)}", "damaged")
        for name, task in self.dataset.tasks.items():
            labels = self.labels.get(name, [])
            what = f"{title}: {name}"
            if not any(label.valid for label in labels):
                yield Finding(what, "no sample that was read has a label", "unusual")
                continue
            pixels, valid = sum(label.pixels for label in labels), sum(label.valid for label in labels)
            text = f"{valid / pixels:.1%} of pixels labelled"
            if len(labels) < self.images:
                text += f" in {len(labels)} of {self.images} images, none in the others"
            yield _describe(what, text, task, labels, whole, self.dataset.plausible.get(name))


def _describe(
    what: str, text: str, task: Task, labels: list[_Label], whole: bool, usual: tuple[float, float] | None
) -> Finding:
    counts = [label.classes for label in labels if label.classes is not None]
    if not counts:
        low, high = min(label.low for label in labels), max(label.high for label in labels)
        of = "z from" if task.label_type is Normals else "values from"
        text = f"{text}, {of} {low:.4g} to {high:.4g}"
        if usual is not None and not usual[0] <= low <= high <= usual[1]:
            return Finding(what, f"{text}; usual are {usual[0]:g} to {usual[1]:g}", "unusual")
        return Finding(what, text)
    total = np.sum(counts, axis=0)
    if len(task.classes) <= 2:
        share = total[1] / max(total[:2].sum(), 1)
        text = f"{text}, {share:.1%} of these positive"
        if usual is not None and not usual[0] <= share <= usual[1]:
            return Finding(what, f"{text}; usual are {usual[0]:.1%} to {usual[1]:.1%}", "unusual")
        return Finding(what, text)
    absent = [name for index, name in enumerate(task.classes) if not total[index]]
    text = f"{text}, {len(task.classes) - len(absent)} of {len(task.classes)} classes"
    if absent and whole:
        return Finding(what, f"{text}; nowhere: {_some(absent)}", "unusual")
    return Finding(what, text)


def _sizes(sizes: Counter[tuple[int, int]]) -> str:
    common = [f"{height}x{width}" for (height, width), _ in sizes.most_common(3)]
    return common[0] if len(sizes) == 1 else f"{len(sizes)} sizes, most often {', '.join(common)}"


def _some(names: Sequence[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
