"""What every data set promises, and how samples become batches."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset

from mtlbench.checking import Finding, Progress, check_splits
from mtlbench.errors import MtlbenchError
from mtlbench.labels import ClassMap, Normals, unit_normals
from mtlbench.tasks import Tasks

Split = Literal["train", "val"]
SPLITS: tuple[Split, Split] = ("train", "val")
Sample = dict[str, Any]
Batch = dict[str, Any]
Transform = Callable[[Sample], Sample]


class Dataset(TorchDataset[Sample]):
    """A data set of one split.

    Its options are the keyword-only arguments of its constructor. A sample is
    `{"image": tv_tensors.Image uint8 (3, H, W), task: label, ..., "id": str}`; labels are of the types of
    `mtlbench.labels`. A sample that has no label for a task lacks that key.
    """

    tasks: ClassVar[Tasks]
    """All tasks that the data set has labels for, in the field's usual order."""

    size: tuple[int, int]
    """(H, W) to which training crops and evaluation images are padded."""

    usual_size: ClassVar[tuple[int, int] | None] = None
    """That of the published archive, where `size` follows from its files."""

    transforms: ClassVar[Mapping[str, Callable[[tuple[int, int]], Transform]]]
    """Training transforms by name (a recipe's `augment`); each takes the crop size (H, W)."""

    default_transform: ClassVar[str]
    """The name in `transforms` that `augment: default` means."""

    plausible: ClassVar[Mapping[str, tuple[float, float]]] = {}
    """Where a task's values usually lie (of a binary map: the share of positive pixels); a check calls others
    unusual."""

    published: ClassVar[Mapping[str, Mapping[str, str]]] = {}
    """Published table -> task -> the metric variant (`mtlbench.catalogue`) that it prints."""

    def __init__(self, split: Split, tasks: Sequence[str]) -> None:
        super().__init__()
        self.split = split
        self.requested = tuple(tasks)

    @classmethod
    def prepare(cls, **options: Any) -> None:
        """Make what the samples need (a cache, say), once, before cells start in parallel; a second call is
        free.

        Raises:
            DataError: files are missing; the message names the path and what was expected there.
        """

    @classmethod
    def images_to_be(cls, split: Split, /, **options: Any) -> int | None:
        """How many images a split will have, where the options alone tell; None: the files do.

        Raises:
            MtlbenchError: options that it can't be made with.
        """
        return None

    @classmethod
    def cache(cls, **options: Any) -> None:
        """Keep in quick reach what samples are made of, once, before cells start; results must not depend on
        it, and a second call is free. By default there is nothing to keep.
        """

    @classmethod
    def check(cls, count: int | None, progress: Progress, /, **options: Any) -> list[Finding]:
        """What `mtlbench data check` reports.

        Args:
            count: how many samples of each split to read, evenly spaced; None: all.
            progress: hears of every sample and file that was looked at.
            options: the keyword-only arguments of the constructor.

        Raises:
            DataError: the data set can't be opened at all.
        """
        cls.prepare(**options)
        splits = [cls(split, tuple(cls.tasks), **options) for split in SPLITS]
        checksums = [
            Finding(f"{made.split}: checksum", made.checksum() or made.fingerprint()) for made in splits
        ]
        return [*check_splits(splits, count, progress), *checksums]

    @classmethod
    def make(cls, **options: Any) -> None:
        """Write the data set, where it is one that can be made: `mtlbench data make`.

        Raises:
            MtlbenchError: this one can't.
        """
        raise MtlbenchError(
            f"{cls.__name__} can't be made here: its files have to be downloaded (docs/datasets.md)"
        )

    def __len__(self) -> int:
        raise NotImplementedError

    def __getitem__(self, index: int) -> Sample:
        raise NotImplementedError

    def pad(self, sample: Sample) -> Sample:
        """Bring an evaluation sample to `size` with pixels that don't count; by default it has that size."""
        return sample

    def positions(self) -> Sequence[int]:
        """Where each sample stands among all images of the split, those that these tasks leave out too."""
        return range(len(self))

    def as_evaluated(self) -> Dataset:
        """All images of this split, with the labels that scores are taken from, whatever the split; in the
        order that `positions` speaks of. By default nothing differs.

        Raises:
            MtlbenchError: they can't be read so.
        """
        return self

    def fingerprint(self) -> str:
        """A short and cheap checksum of the files that this split reads, names and sizes say; it goes into
        every result, and a result whose data has another today is stale.
        """
        raise NotImplementedError

    def checksum(self) -> str | None:
        """A checksum of what the files hold, where `check` has read them all as they are now, else None; it
        goes into every result.
        """
        return None


def collate(samples: Sequence[Sample], tasks: Tasks) -> Batch:
    """Stack samples of one size; a label that a sample lacks becomes a map of the task's "no label" value.

    Returns `{"image": uint8 (B, 3, H, W), task: (B, ...) plain tensors, ..., "id": list[str]}`; normals may
    still be coded, see `unpack`.
    """
    batch: Batch = {"id": [sample["id"] for sample in samples]}
    batch["image"] = torch.stack([_plain(sample["image"]) for sample in samples])
    size = batch["image"].shape[-2:]
    for name, task in tasks.items():
        labels = [_plain(sample[name]) for sample in samples if name in sample]
        like = labels[0] if labels else _empty_label(task.label_type, *size)
        missing = torch.full_like(like, task.fill)
        batch[name] = torch.stack([_plain(sample[name]) if name in sample else missing for sample in samples])
    return batch


def unpack(batch: Batch, tasks: Tasks) -> Batch:
    """The batch with coded labels as values: what losses and metrics take; done on the device."""
    coded = [name for name, task in tasks.items() if task.label_type is Normals]
    return {**batch, **{name: unit_normals(batch[name]) for name in coded}}


def _plain(tensor: Tensor) -> Tensor:
    return tensor.as_subclass(Tensor)


def _empty_label(label_type: type[Tensor], height: int, width: int) -> Tensor:
    if label_type is ClassMap:
        return torch.empty(height, width, dtype=torch.uint8)
    return torch.empty(3 if label_type is Normals else 1, height, width)


def listing_fingerprint(paths: Sequence[Path]) -> str:
    """A checksum of names and sizes of files: cheap, and another flavour of an archive changes it."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(f"{path.name}:{path.stat().st_size};".encode())
    return digest.hexdigest()[:16]
