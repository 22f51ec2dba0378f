"""What every data set must do, whoever wrote it.

Each check takes a `Dataset` class and its options, and looks at a few samples of both splits.
"""

import pickle
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, cast

import torch
from torch import Tensor
from torchvision import tv_tensors

from mtlbench.data import Dataset, Sample, Split, Transform, collate
from mtlbench.labels import ClassMap, Normals, unit_normals
from mtlbench.seeding import seed_torch
from mtlbench.tasks import IGNORE, Task, Tasks

SPLITS: tuple[Split, Split] = ("train", "val")
SAMPLES = 3
"""Samples of each split that are looked at; ids are compared over more."""
IDS = 50
UNIT_TOLERANCE = 5e-3
"""Of the length of normals: they may be kept in half precision."""

DatasetClass = Callable[..., Dataset]


def check_dataset(dataset: DatasetClass, **options: Any) -> None:
    """All checks, one after the other."""
    for check in DATASET_CHECKS:
        check(dataset, **options)


def check_declarations(dataset: DatasetClass, **options: Any) -> None:
    """Tasks go by their names, the default transform exists, there is a summary."""
    made = _build(dataset, "train", **options)
    assert made.tasks, "a data set has at least one task"
    for name, task in made.tasks.items():
        assert name == task.name, f"task `{task.name}` is kept under the name `{name}`"
    assert made.default_transform in made.transforms, f"no transform `{made.default_transform}`"
    assert (dataset.__doc__ or "").strip(), "a docstring is required"


def check_samples(dataset: DatasetClass, **options: Any) -> None:
    """Images and labels have the promised types, shapes and values, the same each time they are read."""
    for made, sample in _samples(dataset, **options):
        _assert_sample(sample, made.tasks, tuple(sample["image"].shape[-2:]))
    for split in SPLITS:
        made = _build(dataset, split, **options)
        _assert_equal(made[0], made[0], "read twice")


def check_splits(dataset: DatasetClass, **options: Any) -> None:
    """No id twice in a split, and no image in both."""
    seen: list[dict[str, Tensor]] = []
    for split in SPLITS:
        made = _build(dataset, split, **options)
        assert len(made) > 0, f"{split} is empty"
        samples = [made[index] for index in range(min(IDS, len(made)))]
        seen.append({sample["id"]: sample["image"] for sample in samples})
        assert len(seen[-1]) == len(samples), f"{split} holds an id twice"
    train, val = seen
    for name in train.keys() & val.keys():
        assert not _same(train[name], val[name]), f"image {name!r} is in both splits"


def check_requested_tasks(dataset: DatasetClass, **options: Any) -> None:
    """Samples hold the tasks that were asked for; what they hold beside, batches don't."""
    tasks = _build(dataset, "train", **options).tasks
    for name in tasks:
        for split in SPLITS:
            made = _build(dataset, split, (name,), **options)
            sample = made[0]
            stray = sample.keys() - {"id", "image", *tasks}
            assert not stray, f"{split} samples hold {sorted(stray)}, which are no tasks"
            batch = collate([made.pad(sample)], {name: tasks[name]})
            assert batch.keys() == {"id", "image", name}, f"batch of {name}: {sorted(batch)}"
    val = _build(dataset, "val", tuple(tasks)[:1], **options)[0]
    extra = val.keys() - {"id", "image", next(iter(tasks))}
    assert not extra, f"samples of val hold {sorted(extra)}, which were not asked for"


def check_transforms(dataset: DatasetClass, **options: Any) -> None:
    """Every training transform gives samples of `size`, and draws from torch's global generator only."""
    made = _build(dataset, "train", **options)
    for name, make in made.transforms.items():
        transform = make(made.size)
        for index in range(min(SAMPLES, len(made))):
            first, second = (_transformed(transform, made[index], seed=index) for _ in range(2))
            _assert_sample(first, made.tasks, made.size)
            _assert_equal(first, second, f"transform `{name}` under the same seed")


def check_padding(dataset: DatasetClass, **options: Any) -> None:
    """`pad` brings evaluation samples to `size` and keeps their pixels."""
    for made, sample in _samples(dataset, **options):
        padded = made.pad(sample)
        _assert_sample(padded, made.tasks, made.size)
        kept, given = (s["image"].as_subclass(Tensor).double().sum() for s in (padded, sample))
        assert kept >= given, f"padding of {sample['id']} lost pixels"


def check_fingerprint(dataset: DatasetClass, **options: Any) -> None:
    """A text that another object over the same files gives too."""
    for split in SPLITS:
        first, second = (_build(dataset, split, **options).fingerprint() for _ in range(2))
        assert isinstance(first, str), f"a fingerprint is a text, found {type(first).__name__}"
        assert first, "the fingerprint is empty"
        assert first == second, f"{split} has the fingerprints {first} and {second}"


def check_pickling(dataset: DatasetClass, **options: Any) -> None:
    """Processes that load data get a copy that gives the same samples."""
    for split in SPLITS:
        made = _build(dataset, split, **options)
        copy = pickle.loads(pickle.dumps(made))
        assert len(copy) == len(made), f"{split} has {len(made)} samples, its copy {len(copy)}"
        _assert_equal(made[0], copy[0], "sent to another process")


def check_missing_labels(dataset: DatasetClass, **options: Any) -> None:
    """In a batch, a sample without a label has no valid pixel for that task; so has one where all lack it."""
    made = _build(dataset, "val", **options)
    full = made.pad(made[0])
    for name, task in made.tasks.items():
        without = {key: value for key, value in full.items() if key != name}
        for samples in ([full, without], [without, without]):
            valid = task.valid(collate(samples, made.tasks)[name])
            assert not valid[1].any(), f"{name}: pixels without a label count as valid"


DATASET_CHECKS = (
    check_declarations,
    check_samples,
    check_splits,
    check_requested_tasks,
    check_transforms,
    check_padding,
    check_fingerprint,
    check_pickling,
    check_missing_labels,
)


def _build(dataset: DatasetClass, split: Split, tasks: tuple[str, ...] = (), **options: Any) -> Dataset:
    """One split, prepared as a run would; all tasks unless some are given."""
    family = cast(type[Dataset], dataset)
    family.prepare(**options)
    return dataset(split, tasks or tuple(family.tasks), **options)


def _samples(dataset: DatasetClass, **options: Any) -> Iterator[tuple[Dataset, Sample]]:
    for split in SPLITS:
        made = _build(dataset, split, **options)
        yield from ((made, made[index]) for index in islice(range(len(made)), SAMPLES))


def _transformed(transform: Transform, sample: Sample, *, seed: int) -> Sample:
    with torch.random.fork_rng(devices=[]):
        seed_torch(seed)
        return transform(sample)


def _assert_sample(sample: Sample, tasks: Tasks, size: tuple[int, ...]) -> None:
    """An image uint8 (3, H, W), an id, and labels as their tasks say, all of one size (H, W)."""
    image, name = sample["image"], sample["id"]
    assert isinstance(name, str), f"an id is a text, found {type(name).__name__}"
    assert name, "an id is empty"
    assert type(image) is tv_tensors.Image, f"{name}: image is a {type(image).__name__}"
    assert image.dtype == torch.uint8, f"{name}: image is {image.dtype}, not uint8"
    assert tuple(image.shape) == (3, *size), f"{name}: image {tuple(image.shape)}, not {(3, *size)}"
    for task in tasks.values():
        if task.name in sample:
            _assert_label(sample[task.name], task, size, f"{task.name} of {name}")


def _assert_label(label: Tensor, task: Task, size: tuple[int, ...], what: str) -> None:
    assert type(label) is task.label_type, (
        f"{what} is a {type(label).__name__}, not {task.label_type.__name__}"
    )
    plain = label.as_subclass(Tensor)
    shape: tuple[int, ...]
    allowed: tuple[torch.dtype, ...]
    if task.label_type is ClassMap:
        shape, allowed = size, (torch.uint8, torch.int64)
        stray = plain[(plain != IGNORE) & ((plain < 0) | (plain >= max(2, task.channels)))]
        problem = f"{what} holds class {stray[0]}" if len(stray) else ""
    elif task.label_type is not Normals:
        shape, allowed = (1, *size), (torch.float32,)
        problem = "" if plain.isfinite().all() and plain.min() >= 0 else f"{what} holds {plain.min()}"
    else:
        shape, allowed = (3, *size), (torch.float32, torch.uint8)
        lengths = unit_normals(plain).norm(dim=0)
        off = (lengths - 1).abs().where(lengths != 0, 0)
        problem = (
            "" if off.max() < UNIT_TOLERANCE else f"{what} holds a vector that is off 1 by {off.max():.3g}"
        )
    assert tuple(plain.shape) == shape, f"{what} has shape {tuple(plain.shape)}, not {shape}"
    assert plain.dtype in allowed, f"{what} is {plain.dtype}"
    assert not problem, problem


def _assert_equal(first: Sample, second: Sample, when: str) -> None:
    assert first.keys() == second.keys(), f"{when}, a sample holds {sorted(first)}, then {sorted(second)}"
    for key, value in first.items():
        assert _same(value, second[key]), f"{when}, `{key}` differs"


def _same(first: Any, second: Any) -> bool:
    if not isinstance(first, Tensor):
        return bool(first == second)
    return torch.equal(first.as_subclass(Tensor), second.as_subclass(Tensor))
