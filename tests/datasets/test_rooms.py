"""The data set `rooms`."""

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from mtlbench.datasets.files import parse_size
from mtlbench.datasets.rooms import Rooms
from torchvision import tv_tensors

from mtlbench.data import collate
from mtlbench.errors import DataError, MtlbenchError
from mtlbench.labels import ClassMap, Depth, Normals

TASKS = tuple(Rooms.tasks)


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    chosen = {"root": str(tmp_path_factory.mktemp("rooms")), "train": 6, "val": 3, "size": "32x48"}
    Rooms.prepare(**chosen)
    return chosen


def test_samples(options: dict[str, Any]) -> None:
    rooms = Rooms("train", TASKS, **options)
    assert len(rooms) == 6
    assert rooms.size == (32, 48)
    sample = rooms[2]
    assert sample["id"] == "train-000002"
    assert isinstance(sample["image"], tv_tensors.Image)
    assert sample["image"].shape == (3, 32, 48)
    assert sample["image"].dtype == torch.uint8
    for name, task in Rooms.tasks.items():
        assert type(sample[name]) is task.label_type
    assert isinstance(sample["depth"], Depth)
    assert sample["depth"].shape == (1, 32, 48)
    assert isinstance(sample["normals"], Normals)
    assert torch.allclose(torch.linalg.norm(sample["normals"], dim=0), torch.ones(32, 48), atol=1e-3)
    assert isinstance(sample["edge"], ClassMap)
    assert sample["edge"].dtype == torch.uint8


def test_only_requested_labels(options: dict[str, Any]) -> None:
    assert set(Rooms("val", ("depth",), **options)[0]) == {"id", "image", "depth"}


def test_samples_are_copies(options: dict[str, Any]) -> None:
    rooms = Rooms("train", TASKS, **options)
    rooms[0]["image"].zero_()
    assert rooms[0]["image"].any()


def test_batches(options: dict[str, Any]) -> None:
    rooms = Rooms("train", TASKS, **options)
    transform = Rooms.transforms[Rooms.default_transform](rooms.size)
    batch = collate([transform(rooms[index]) for index in range(4)], Rooms.tasks)
    assert batch["image"].shape == (4, 3, 32, 48)
    assert batch["normals"].shape == (4, 3, 32, 48)


def test_pickles_without_its_arrays(options: dict[str, Any]) -> None:
    rooms = Rooms("train", TASKS, **options)
    stored = pickle.dumps(rooms)
    assert len(stored) < 5000
    assert torch.equal(pickle.loads(stored)[1]["depth"], rooms[1]["depth"])


def test_splits_differ(options: dict[str, Any]) -> None:
    train, val = Rooms("train", TASKS, **options), Rooms("val", TASKS, **options)
    pictures = {
        sample["image"].numpy().tobytes() for split in (train, val) for sample in (split[i] for i in range(3))
    }
    assert len(pictures) == 6
    assert train.fingerprint() != val.fingerprint()


def test_first_scenes_are_the_same_for_every_number(options: dict[str, Any], tmp_path: Path) -> None:
    fewer = Rooms("train", TASKS, **{**options, "root": str(tmp_path), "train": 2})
    assert torch.equal(fewer[1]["image"], Rooms("train", TASKS, **options)[1]["image"])


def test_prepare_twice_writes_nothing(options: dict[str, Any]) -> None:
    before = {path: path.stat().st_mtime_ns for path in Path(options["root"]).rglob("*")}
    Rooms.prepare(**options)
    assert {path: path.stat().st_mtime_ns for path in Path(options["root"]).rglob("*")} == before


def test_same_in_another_process(options: dict[str, Any], tmp_path: Path) -> None:
    code = (
        "from mtlbench.datasets.rooms import Rooms;"
        f"print(Rooms('train', (), root={str(tmp_path)!r}, train=6, size='32x48').fingerprint())"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == Rooms("train", (), **options).fingerprint()


def test_damage(options: dict[str, Any], tmp_path: Path) -> None:
    mine = {**options, "root": str(tmp_path)}
    rooms = Rooms("val", TASKS, **mine)
    path = next(tmp_path.glob("val-*")) / "depth.npy"
    del rooms
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(DataError, match=r"depth\.npy"):
        Rooms("val", TASKS, **mine)
    Rooms.prepare(**mine)
    assert Rooms("val", TASKS, **mine).fingerprint() == Rooms("val", TASKS, **options).fingerprint()


@pytest.mark.parametrize("size", ["96", "96x", "axb", "8x8", "96x128x3", "-96x128"])
def test_bad_size(size: str) -> None:
    with pytest.raises(MtlbenchError, match="HEIGHTxWIDTH"):
        parse_size(size)


@pytest.mark.parametrize("wrong", [{"train": 0}, {"val": -1}, {"seed": -1}])
def test_bad_numbers(wrong: dict[str, int], tmp_path: Path) -> None:
    with pytest.raises(MtlbenchError, match=next(iter(wrong))):
        Rooms.prepare(root=str(tmp_path), **{"train": 1, "val": 1, **wrong})
