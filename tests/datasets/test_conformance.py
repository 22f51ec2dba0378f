"""Every built-in data set passes the conformance suite, and broken ones do not."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from mtlbench.datasets.cityscapes import Cityscapes
from mtlbench.datasets.layouts import LAYOUTS, make_rooms
from mtlbench.datasets.mtan import CityscapesMTAN, NYUv2MTAN
from mtlbench.datasets.nyud import NYUD
from mtlbench.datasets.pascal_context import PASCALContext
from mtlbench.datasets.rooms import Rooms

from mtlbench.data import Dataset
from mtlbench.labels import ClassMap, Depth, Normals
from mtlbench.registry import Registry, registry
from mtlbench.testing import DATASET_CHECKS, check_dataset
from mtlbench.testing.datasets import (
    check_fingerprint,
    check_missing_labels,
    check_padding,
    check_pickling,
    check_requested_tasks,
    check_samples,
    check_splits,
    check_transforms,
)

LAID_OUT: dict[str, tuple[type[Dataset], str, dict[str, Any]]] = {
    "nyud": (NYUD, "32x48", {}),
    "nyud_mt": (NYUD, "32x48", {}),
    "pascal_context": (PASCALContext, "36x50", {"size": "64x56"}),
    "cityscapes": (Cityscapes, "48x96", {"size": "32x64"}),
    "cityscapes, metres": (Cityscapes, "48x96", {"size": "48x96", "depth": "metres"}),
    "nyuv2_mtan": (NYUv2MTAN, "36x48", {}),
    "cityscapes_mtan": (CityscapesMTAN, "24x48", {}),
    "cityscapes_mtan, 19": (CityscapesMTAN, "256x288", {"classes": 19}),
}
"""What reads each layout, the size that it is written in, and options."""
CASES = ("rooms", "rooms-painted", *LAID_OUT)


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Any, dict[str, Any]]]:
    """The class and the options of a case; its files are written once."""
    made: dict[str, tuple[Any, dict[str, Any]]] = {}

    def place(case: str) -> tuple[Any, dict[str, Any]]:
        if case not in made:
            made[case] = _write(case, tmp_path_factory.mktemp(case) / "root")
        return made[case]

    return place


def _write(case: str, root: Path) -> tuple[Any, dict[str, Any]]:
    if case in LAID_OUT:
        dataset, size, options = LAID_OUT[case]
        make_rooms(root=str(root), train=4, val=2, size=size, layout=case.split(",")[0])
        return dataset, {"root": str(root), **options}
    kind = case.partition("-")[2]
    return Rooms, {"root": str(root), "train": 6, "val": 3, "size": "32x48", "style": kind or "textured"}


@pytest.mark.parametrize("check", DATASET_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("case", CASES)
def test_conformance(case: str, check: Any, places: Any) -> None:
    dataset, options = places(case)
    check(dataset, **options)


def test_every_built_in_dataset_is_in_the_suite(places: Any) -> None:
    built_in = [p for p in registry.plugins("dataset") if str(p.target).startswith("mtlbench.datasets.")]
    assert {plugin.load() for plugin in built_in} == {
        Rooms,
        *(dataset for dataset, _, _ in LAID_OUT.values()),
    }
    assert {case.split(",")[0] for case in LAID_OUT} == set(LAYOUTS)


def test_partly_labelled_data_passes(tiny_registry: Registry) -> None:
    check_dataset(tiny_registry.load("dataset", "tiny"), unlabelled="depth")


def changed(key: str, change: Callable[[Any], Any]) -> type[Rooms]:
    """Rooms with one entry of every sample changed."""

    class Changed(Rooms):
        """Broken on purpose."""

        def __getitem__(self, index: int) -> dict[str, Any]:
            sample = super().__getitem__(index)
            return {**sample, key: change(sample[key])} if key in sample else sample

    return Changed


class OwnConstructor(Rooms):
    @classmethod
    def prepare(cls, **options: Any) -> None:
        Rooms.prepare(**options)


class Talkative(OwnConstructor):
    """Gives all labels, whichever were asked for."""

    def __init__(self, split: Any, tasks: Any, **options: Any) -> None:
        super().__init__(split, tuple(Rooms.tasks), **options)


class Leaking(OwnConstructor):
    """Evaluates on its training images."""

    def __init__(self, split: Any, tasks: Any, **options: Any) -> None:
        super().__init__("train", tasks, **options)


class Restless(Rooms):
    """Has a transform that gives something else each time."""

    transforms = {"drift": lambda size: drift}  # noqa: RUF012
    default_transform = "drift"


def drift(sample: dict[str, Any]) -> dict[str, Any]:
    drift.calls = getattr(drift, "calls", 0) + 1  # type: ignore[attr-defined]
    return {**sample, "image": (sample["image"] + drift.calls).as_subclass(type(sample["image"]))}  # type: ignore[attr-defined]


class Cutting(Rooms):
    """Crops to an eighth, and forgets to pad."""

    transforms = {"cut": lambda size: cut}  # noqa: RUF012
    default_transform = "cut"

    def pad(self, sample: dict[str, Any]) -> dict[str, Any]:
        return cut(sample)


def cut(sample: dict[str, Any]) -> dict[str, Any]:
    return {
        k: v if k == "id" else type(v)(v.as_subclass(torch.Tensor)[..., :8, :8]) for k, v in sample.items()
    }


class Unsteady(Rooms):
    """Has another fingerprint each time."""

    def fingerprint(self) -> str:
        return str(float(torch.rand(())))


class Lossy(Rooms):
    """Loses labels on the way to another process."""

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "requested": ("depth",), "_names": ("image", "depth")}


@pytest.mark.parametrize(
    ("dataset", "check", "message"),
    [
        (changed("image", lambda image: image.float()), check_samples, "image is"),
        (changed("id", lambda text: 7), check_samples, "an id is a text, found int"),
        (changed("semseg", lambda label: ClassMap(label + 100)), check_samples, "semseg of .* holds class 1"),
        (changed("depth", lambda label: Depth(-label)), check_samples, "depth of .* holds -"),
        (changed("depth", lambda label: Depth(label[0])), check_samples, r"has shape \(32, 48\)"),
        (changed("normals", lambda label: Normals(label * 2)), check_samples, "off 1 by 1"),
        (changed("sal", lambda label: Depth(label)), check_samples, "is a Depth, not ClassMap"),
        (changed("id", lambda text: "same"), check_splits, "train holds an id twice"),
        (Leaking, check_splits, "is in both splits"),
        (Talkative, check_requested_tasks, "which were not asked for"),
        (Restless, check_transforms, "transform `drift` under the same seed, `image` differs"),
        (Cutting, check_transforms, r"not \(3, 32, 48\)"),
        (Cutting, check_padding, r"not \(3, 32, 48\)"),
        (Unsteady, check_fingerprint, "has the fingerprints"),
        (Lossy, check_pickling, "sent to another process"),
    ],
)
def test_the_suite_notices(dataset: Any, check: Any, message: str, places: Any) -> None:
    _, options = places("rooms")
    with pytest.raises(AssertionError, match=message):
        check(dataset, **options)


def test_the_suite_notices_labels_made_up(places: Any) -> None:
    task = Rooms.tasks["depth"]
    wrong = type("Wrong", (Rooms,), {"tasks": {**Rooms.tasks, "depth": _filled_with_ones(task)}})
    with pytest.raises(AssertionError, match="depth: pixels without a label count as valid"):
        check_missing_labels(wrong, **places("rooms")[1])


def _filled_with_ones(task: Any) -> Any:
    return replace(task, fill=1)
