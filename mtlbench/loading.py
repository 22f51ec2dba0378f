"""Batches: which image comes when depends on the seed alone, not on workers, ranks or interruptions."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch.utils.data import DataLoader, Sampler
from torch.utils.data import Dataset as TorchDataset

from mtlbench.data import Batch, Dataset, Sample, Transform, collate
from mtlbench.errors import MtlbenchError
from mtlbench.seeding import derive, generator, seed_torch
from mtlbench.spec import Recipe
from mtlbench.tasks import Tasks

Draw = tuple[int, int]
"""Position in the stream of training images, index of the image."""


def train_batches(
    dataset: Dataset,
    tasks: Tasks,
    recipe: Recipe,
    *,
    seed: int,
    start: int,
    rank: int,
    ranks: int,
    workers: int,
    batches: int = 1,
) -> Iterator[Batch]:
    """This rank's micro-batches from optimizer step `start` on: `recipe.accumulate` for each of its batches.

    Raises:
        MtlbenchError: the batch can't be filled, or not be divided among ranks and micro-batches.
    """
    parts = ranks * recipe.accumulate
    if recipe.batch_size > len(dataset):
        found = f"{recipe.batch_size} of {len(dataset)}"
        raise MtlbenchError(f"`recipe.batch_size` must be at most the number of training images, got {found}")
    if recipe.batch_size % parts:
        found = f"{recipe.batch_size} and {ranks} x {recipe.accumulate}"
        raise MtlbenchError(f"`recipe.batch_size` must be a multiple of devices x accumulate, got {found}")
    names = dataset.transforms
    transform = names[dataset.default_transform if recipe.augment == "default" else recipe.augment](
        dataset.size
    )
    loader = DataLoader(
        _Augmented(dataset, transform, seed),
        batch_sampler=_Order(
            len(dataset), recipe, seed=seed, start=start, rank=rank, ranks=ranks, batches=batches
        ),
        num_workers=workers,
        collate_fn=partial(collate, tasks=tasks),
        pin_memory=torch.cuda.is_available(),
    )
    return iter(loader)


def evaluation_batches(
    dataset: Dataset, tasks: Tasks, *, batch_size: int, rank: int = 0, ranks: int = 1, workers: int = 0
) -> Iterator[Batch]:
    """Every image once, in order, padded to the data set's size; with several ranks, this rank's share.

    A share is one span of images that begins at a multiple of 8, so that metrics that are means over groups
    of 2, 4 or 8 consecutive images (`metrics.batch_means`) see the same groups with any number of ranks.
    """
    groups = -(-len(dataset) // 8)
    first, end = (8 * (groups * r // ranks) for r in (rank, rank + 1))
    indices = range(first, min(end, len(dataset)))
    batches = [list(indices[i : i + batch_size]) for i in range(0, len(indices), batch_size)]
    loader = DataLoader(
        _Padded(dataset), batch_sampler=batches, num_workers=workers, collate_fn=partial(collate, tasks=tasks)
    )
    return iter(loader)


def steps_per_epoch(dataset: Dataset, recipe: Recipe) -> int:
    return len(dataset) // recipe.batch_size


class _Augmented(TorchDataset[Sample]):
    """Training images under a transform whose draws depend on the position in the stream."""

    def __init__(self, dataset: Dataset, transform: Transform, seed: int) -> None:
        self.dataset = dataset
        self.transform = transform
        self.seed = seed

    def __getitem__(self, draw: Draw) -> Sample:
        position, index = draw
        with torch.random.fork_rng(devices=[]):
            seed_torch(derive(self.seed, "augment", position))
            return self.transform(self.dataset[index])


class _Padded(TorchDataset[Sample]):
    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    def __getitem__(self, index: int) -> Sample:
        return self.dataset.pad(self.dataset[index])


class _Order(Sampler[list[Draw]]):
    """Micro-batches of draws; every epoch is a new permutation, an incomplete last batch is dropped."""

    def __init__(
        self, images: int, recipe: Recipe, *, seed: int, start: int, rank: int, ranks: int, batches: int
    ) -> None:
        self.images = images
        self.recipe = recipe
        self.seed = seed
        self.numbers = range(start * batches, recipe.iterations * batches)
        self.rank = rank
        self.ranks = ranks

    def __iter__(self) -> Iterator[list[Draw]]:
        size, parts = self.recipe.batch_size, self.recipe.accumulate
        per_epoch = self.images // size
        epoch, order = -1, []
        for number in self.numbers:
            if number // per_epoch != epoch:
                epoch = number // per_epoch
                order = torch.randperm(self.images, generator=generator(self.seed, "order", epoch)).tolist()
            first = number % per_epoch * size
            draws = [(number * size + i, order[first + i]) for i in range(size)]
            for part in range(parts):
                micro = draws[part * size // parts : (part + 1) * size // parts]
                yield micro[self.rank :: self.ranks]
