"""What data sets that read an archive's files have in common."""

from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

from torchvision.tv_tensors import TVTensor

from mtlbench import provenance
from mtlbench.checking import Finding, Progress, check_splits
from mtlbench.data import SPLITS, Dataset, Sample, Split, listing_fingerprint
from mtlbench.errors import DataError

from . import decoded, files, integrity, transforms

IMAGE = "image"
"""The key of the picture, in samples and among files."""


class Archive(Dataset):
    """A data set of files: ids by split, the files of an id, and how each is decoded.

    A subclass lists its ids in `list_ids`, names all files of an image in `paths`, and decodes one in
    `decode`; its options beside `root` are attributes that its constructor sets before it calls this one.
    Training samples hold `semseg` also when it was not asked for, since crops are balanced by it.

    Attributes:
        root: the unpacked archive.
        ids: of the split's images.
        evaluated: whether `decode` gives the labels that scores are taken from.
    """

    title: ClassVar[str]
    """The data set's name in messages."""

    images: ClassVar[Mapping[Split, int]]
    """How many images the published splits have."""

    other_labels: ClassVar[tuple[str, ...]] = ()
    """Tasks whose labels for scores are others than those for training."""

    def __init__(self, split: Split, tasks: Sequence[str], root: str) -> None:
        super().__init__(split, tasks)
        self.root = Path(root)
        if not self.root.is_dir():
            raise DataError(
                f"{self.title} is required at {self.root}, but there is no such folder: unpack the archive"
                f" and set `root` to it (docs/datasets.md says where to get it)"
            )
        self._listed = self.list_ids(split)
        self.ids = self._listed  # a subclass may leave some out
        self.evaluated = split == "val"
        balanced = transforms.BALANCED_BY
        extra = (balanced,) if split == "train" and balanced in self.tasks else ()
        self._names = tuple(dict.fromkeys((*self.requested, *extra)))

    def list_ids(self, split: Split) -> list[str]:
        """The ids of a split's images, in order.

        Raises:
            DataError: the split's list is missing, empty or malformed.
        """
        raise NotImplementedError

    def paths(self, name: str) -> dict[str, Path]:
        """Every file of an image, also of tasks that were not asked for: what it holds -> path.

        Keys are "image" and task names, and others for files that serve several tasks.
        """
        raise NotImplementedError

    def decode(self, what: str, name: str, size: files.Size | None) -> TVTensor | None:
        """The picture or one label of an image.

        Args:
            what: "image" or a task.
            name: an id.
            size: (H, W) that it must have, or None where any is right.

        Returns:
            `tv_tensors.Image` uint8 (3, H, W), a label as in `mtlbench.labels`, or None where the image has
            no such label.

        Raises:
            DataError: the file is unreadable or wrong; with its path and what was found.
        """
        raise NotImplementedError

    @classmethod
    def open(cls, split: Split, **options: Any) -> Self:
        """A split with all tasks."""
        return cls(split, tuple(cls.tasks), **options)

    @classmethod
    def prepare(cls, **options: Any) -> None:
        """Check, by listing folders, that every image of both splits has all its files.

        Args:
            options: the keyword-only arguments of the constructor.

        Raises:
            DataError: something is missing, or the splits share an image.
        """
        splits = [cls.open(split, **options) for split in SPLITS]
        shared = _shared_ids(splits)
        if shared:
            raise DataError(
                f"the splits in {splits[0].root} must share no image, but both name {shared[0]!r}"
            )
        files.require([path for made in splits for name in made.ids for path in made.paths(name).values()])

    @classmethod
    def cache(cls, **options: Any) -> None:
        """Keep the samples of both splits decoded, see `decoded`."""
        for split in SPLITS:
            made = cls.open(split, **options)
            folder = made._decoded_folder()
            if folder is not None:
                decoded.make(folder, made.ids, made._decode_all)

    @classmethod
    def check(cls, count: int | None, progress: Progress, /, **options: Any) -> list[Finding]:
        """Files first (there, whole, of one size), then what they hold, then their checksums."""
        splits = [cls.open(split, **options) for split in SPLITS]
        findings = [finding for made in splits for finding in made._check_files()]
        shared = _shared_ids(splits)
        if shared:
            text = f"{len(shared)} ids are in both, {shared[0]} among them"
            findings.append(Finding("splits", text, "damaged"))
        findings += check_splits(splits, count, progress)
        for made in splits:
            entries, changed = integrity.checksums(made.root, made._files(), progress)
            findings += [*changed, Finding(f"{made.split}: checksum", integrity.combined(entries))]
        return findings

    def _check_files(self) -> Iterator[Finding]:
        expected, found = self.images[self.split], len(self.ids)
        text = (
            f"{found}, as published" if found == expected else f"{found}, the published split has {expected}"
        )
        yield Finding(f"{self.split}: images", text, "ok" if found == expected else "unusual")
        paths = {name: self.paths(name) for name in self.ids}
        yield from integrity.missing_files(self.split, paths)
        yield from integrity.whole_files(self.split, paths)

    def _files(self, ids: Sequence[str] | None = None) -> list[Path]:
        """All files of the split, or of these ids, that are there, each once."""
        chosen = self.ids if ids is None else ids
        paths = dict.fromkeys(path for name in chosen for path in self.paths(name).values())
        return [path for path in paths if path.exists()]

    @property
    def decoding_options(self) -> str:
        """The options that change what `decode` returns, as a text."""
        return ""

    def _decoded_folder(self) -> Path | None:
        code = provenance.source_fingerprint(type(self))
        paths = self._files(self._listed)  # also of images that these tasks leave out
        return decoded.folder_of(self.root, self.split, self.decoding_options, paths, code)

    @cached_property
    def _decoded(self) -> decoded.DecodedSamples | None:
        """Looked for on first use, since subclasses' constructors have not ended when this one's has."""
        return decoded.DecodedSamples.open(self._decoded_folder())

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> Sample:
        name = self.ids[index]
        if self._decoded is None:
            return {"id": name, **self._decode(name, self._names)}
        anew = [task for task in self._names if task in self._changed]
        sample = self._decoded.read(name, {IMAGE, *self._names} - {*anew})
        return {"id": name, **sample, **self._labels(name, anew, sample[IMAGE])}

    @property
    def _changed(self) -> tuple[str, ...]:
        """Tasks whose labels are others than those that are kept decoded, as the split is usually read."""
        return self.other_labels if self.evaluated and self.split == "train" else ()

    def positions(self) -> Sequence[int]:
        """See `Dataset.positions`."""
        places = {name: position for position, name in enumerate(self._listed)}
        return [places[name] for name in self.ids]

    def as_evaluated(self) -> Self:
        """See `Dataset.as_evaluated`."""
        made = copy(self)
        made.evaluated, made.ids, made._names = True, self._listed, self.requested
        return made

    def _decode_all(self, name: str) -> decoded.Maps:
        return self._decode(name, tuple(self.tasks))

    def _decode(self, name: str, tasks: Sequence[str]) -> decoded.Maps:
        image = self.decode(IMAGE, name, None)
        assert image is not None, f"{name} has no image"
        return {IMAGE: image, **self._labels(name, tasks, image)}

    def _labels(self, name: str, tasks: Sequence[str], image: TVTensor) -> decoded.Maps:
        height, width = image.shape[-2:]
        labels = {task: self.decode(task, name, (height, width)) for task in tasks}
        return {task: label for task, label in labels.items() if label is not None}

    def pad(self, sample: Sample) -> Sample:
        """Centred padding to `size`; body parts without a person become "no label"."""
        return transforms.pad_to(sample, self.size)

    def fingerprint(self) -> str:
        """A checksum of the names and sizes of the split's files."""
        return listing_fingerprint(self._files())

    def checksum(self) -> str | None:
        """A checksum of their contents, where `mtlbench data check` has read them as they are now."""
        return integrity.known_checksum(self.root, self._files())


def _shared_ids(splits: Sequence[Archive]) -> list[str]:
    """The ids that all splits name, sorted."""
    return sorted(set.intersection(*(set(made.ids) for made in splits)))
