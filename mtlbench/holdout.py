"""Training images that are held out: kept out of training, and scored in place of the validation images.

Which they are follows from their positions and from how many images there are, nothing else: they are the
same for every seed, task, method and length of training, and those of a smaller share are among those of a
larger one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from mtlbench.data import Dataset, Sample
from mtlbench.errors import MtlbenchError

_SHARED = ("tasks", "size", "transforms", "default_transform")
"""What a part has from its whole."""


def count(images: int, share: float) -> int:
    """How many of so many images are held out.

    Raises:
        MtlbenchError: none, or all of them.
    """
    found = round(share * images)
    if share and not 0 < found < images:
        raise MtlbenchError(
            f"`holdout` must keep at least one training image out and leave one, got {share:g} of {images}, "
            f"which is {found}"
        )
    return found


def choose(images: int, share: float) -> list[int]:
    """Their positions, in order: those with the lowest hashes."""
    return sorted(sorted(range(images), key=lambda position: _hash(images, position))[: count(images, share)])


def split(trained: Dataset, share: float) -> tuple[Dataset, Dataset]:
    """What is left for training, and the images that are held out, read as those of validation are.

    Args:
        trained: a training split.
        share: of all of its images, also of those that some tasks leave out.

    Raises:
        MtlbenchError: there are too few images, or the data set can't read them so.
    """
    scored = trained.as_evaluated()
    chosen = choose(len(scored), share)
    out = set(chosen)
    left = [i for i, position in enumerate(trained.positions()) if position not in out]
    if not left:
        raise MtlbenchError(f"`holdout` must leave a training image, got {share:g} of {len(trained)}")
    return Part(trained, left), Part(scored, chosen)


class Part(Dataset):
    """Some images of a data set.

    Args:
        whole: the data set.
        chosen: their indices.
    """

    def __init__(self, whole: Dataset, chosen: Sequence[int]) -> None:
        super().__init__(whole.split, whole.requested)
        self.whole, self.chosen = whole, chosen

    def __getattr__(self, name: str) -> Any:
        if name in _SHARED:
            return getattr(self.whole, name)
        raise AttributeError(f"{type(self).__name__} has no attribute {name}")

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, index: int) -> Sample:
        return self.whole[self.chosen[index]]

    def pad(self, sample: Sample) -> Sample:
        """As the whole does."""
        return self.whole.pad(sample)

    def fingerprint(self) -> str:
        """Of the whole: which images these are follows from their number."""
        return self.whole.fingerprint()

    def checksum(self) -> str | None:
        """Of the whole."""
        return self.whole.checksum()


def _hash(images: int, position: int) -> bytes:
    return hashlib.sha256(f"{images}:{position}".encode()).digest()
