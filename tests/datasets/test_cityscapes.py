"""The data set `cityscapes`, on small trees in the official layout."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mtlbench.datasets.cityscapes import BASELINE, CLASSES, FOCAL_LENGTH, LABEL_IDS, Cityscapes
from mtlbench.datasets.layout_streets import stored_disparity
from mtlbench.datasets.layouts import make_rooms, write_cityscapes
from mtlbench.datasets.rendering import Rendered
from PIL import Image

from mtlbench.data import collate
from mtlbench.errors import DataError, MtlbenchError
from mtlbench.labels import Depth, Disparity

TASKS = tuple(Cityscapes.tasks)
SIZE = (64, 128)
VAL = "frankfurt_000000_000019"
FILES = {
    "leftImg8bit": "leftImg8bit.png",
    "gtFine": "gtFine_labelIds.png",
    "disparity": "disparity.png",
    "camera": "camera.json",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_cityscapes(tmp_path / "cityscapes", train=3, val=1, size=SIZE)
    return tmp_path / "cityscapes"


def place(root: Path, folder: str) -> Path:
    return root / folder / "val" / "frankfurt" / f"{VAL}_{FILES[folder]}"


def val_sample(root: Path, **options: Any) -> dict[str, Any]:
    return Cityscapes("val", TASKS, root=str(root), **{"size": "64x128", **options})[0]


def write_disparity(root: Path, values: dict[tuple[int, int], int]) -> None:
    stored = np.full(SIZE, 513, np.uint16)
    for where, value in values.items():
        stored[where] = value
    Image.fromarray(stored).save(place(root, "disparity"))


def test_samples(root: Path) -> None:
    Cityscapes.prepare(root=str(root))
    data = Cityscapes("train", TASKS, root=str(root), size="32x64")
    assert data.ids == [f"aachen/aachen_000000_{n:06d}" for n in (19, 20, 21)]
    assert data[0]["image"].shape == (3, 32, 64)
    assert type(data[0]["depth"]) is Disparity
    assert data[0]["depth"].shape == (1, 32, 64)
    assert data[0]["semseg"].shape == (32, 64)
    batch = collate(
        [data.transforms[data.default_transform](data.size)(data[i]) for i in range(3)], data.tasks
    )
    assert batch["image"].shape == (3, 3, 32, 64)
    assert Cityscapes("val", TASKS, root=str(root)).size == (512, 1024)


def test_files_are_sorted(root: Path) -> None:
    for folder, suffix in FILES.items():
        other = root / folder / "train" / "zurich"
        other.mkdir()
        first = root / folder / "train" / "aachen" / f"aachen_000000_000019_{suffix}"
        (other / f"zurich_000001_000000_{suffix}").write_bytes(first.read_bytes())
    data = Cityscapes("train", TASKS, root=str(root))
    assert data.ids[-1] == "zurich/zurich_000001_000000"
    assert len(data) == 4


def test_semseg_values(root: Path) -> None:
    stored = np.zeros(SIZE, np.uint8)
    stored[0, :34] = range(34)
    stored[1, 0] = 255  # license plate, -1
    Image.fromarray(stored).save(place(root, "gtFine"))
    semseg = val_sample(root)["semseg"]
    expected = [255] * 34
    for index, value in enumerate((7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)):
        expected[value] = index
    assert semseg[0, :34].tolist() == expected
    assert semseg[1, 0] == 255
    assert len(CLASSES) == len(LABEL_IDS) == 19


def test_disparity_values(root: Path) -> None:
    write_disparity(
        root, {(0, 0): 0, (0, 1): 1, (0, 2): 257, (0, 3): 32257, (0, 4): 2, (0, 5): 32257, (0, 6): 257}
    )
    stored = np.full(SIZE, 7, np.uint8)
    stored[0, 5:7] = 10, 23  # rail track is dropped, sky is not
    Image.fromarray(stored).save(place(root, "gtFine"))
    disparity = val_sample(root)["depth"]
    assert type(disparity) is Disparity
    assert disparity[0, 0, :7].tolist() == [0, 0, 1, 126, 1 / 256, 0, 1]
    assert disparity[0, 1, 0] == 2


def test_depth_in_metres(root: Path) -> None:
    write_disparity(root, {(0, 0): 0, (0, 1): 1, (0, 2): 257, (0, 3): 4097})
    stored = np.full(SIZE, 10, np.uint8)
    Image.fromarray(stored).save(place(root, "gtFine"))
    camera = {"extrinsic": {"baseline": 0.25}, "intrinsic": {"fx": 2000.0}}
    place(root, "camera").write_text(json.dumps(camera))
    data = Cityscapes("val", TASKS, root=str(root), size="64x128", depth="metres")
    depth = data[0]["depth"]
    assert type(depth) is Depth
    assert depth[0, 0, :4].tolist() == [0, 0, 500, 31.25]
    assert data.tasks["depth"].label_type is Depth
    assert Cityscapes.tasks["depth"].label_type is Disparity
    assert list(data.tasks) == list(Cityscapes.tasks)


def test_depth_without_cameras(root: Path) -> None:
    (root / "camera").rename(root / "cameras")
    write_disparity(root, {})
    Cityscapes.prepare(root=str(root), depth="metres")
    depth = val_sample(root, depth="metres")["depth"]
    torch.testing.assert_close(float(depth[0, 5, 5]), BASELINE * FOCAL_LENGTH / 2, rtol=1e-6, atol=0)


def test_resized(root: Path) -> None:
    full, half = val_sample(root), val_sample(root, size="32x64")
    assert torch.equal(half["semseg"], full["semseg"][::2, ::2])
    assert torch.equal(half["depth"], full["depth"][:, ::2, ::2])  # in pixels at 1024x2048 still
    image = Image.fromarray(full["image"].permute(1, 2, 0).numpy()).resize(
        (64, 32), Image.Resampling.BILINEAR
    )
    np.testing.assert_array_equal(half["image"].permute(1, 2, 0).numpy(), np.array(image))


def test_options_change_the_decoded(root: Path) -> None:
    kinds = {
        Cityscapes("val", TASKS, root=str(root), size=size, depth=depth).decoding_options  # type: ignore[arg-type]
        for size in ("32x64", "64x128")
        for depth in ("disparity", "metres")
    }
    assert len(kinds) == 4


@pytest.mark.parametrize("folder", ["leftImg8bit", "gtFine", "disparity"])
@pytest.mark.parametrize("damage", ["cut", "empty", "size", "gone"])
def test_damaged_file(root: Path, folder: str, damage: str) -> None:
    data = Cityscapes("val", TASKS, root=str(root), size="64x128")
    path = place(root, folder)
    whole = path.read_bytes()
    if damage == "size":
        with Image.open(path) as image:
            image.crop((0, 0, 100, 64)).save(path)
    elif damage == "gone":
        path.unlink()
    else:
        path.write_bytes(whole[: len(whole) // 2] if damage == "cut" else b"")
    with pytest.raises(DataError, match=path.name if damage != "size" else "found 64x100"):
        data[0]
    if damage == "gone":
        with pytest.raises(DataError, match=VAL if folder != "leftImg8bit" else "there are none"):
            Cityscapes.prepare(root=str(root))


def test_disparity_of_8_bits(root: Path) -> None:
    Image.fromarray(np.zeros(SIZE, np.uint8)).save(place(root, "disparity"))
    with pytest.raises(DataError, match=r"disparity\.png must be a 16-bit greyscale image, found mode L"):
        val_sample(root)


@pytest.mark.parametrize("text", ["", "{}", '{"extrinsic": 3}', "[1]"])
def test_damaged_camera(root: Path, text: str) -> None:
    place(root, "camera").write_text(text)
    assert "depth" in val_sample(root)
    with pytest.raises(DataError, match=r"camera\.json must be a JSON file"):
        val_sample(root, depth="metres")


def test_camera_without_baseline(root: Path) -> None:
    place(root, "camera").write_text('{"extrinsic": {"baseline": 0}, "intrinsic": {"fx": 1}}')
    with pytest.raises(DataError, match="positive baseline"):
        val_sample(root, depth="metres")


def test_wrong_options(root: Path) -> None:
    with pytest.raises(MtlbenchError, match="metres"):
        val_sample(root, depth="meters")
    with pytest.raises(DataError, match="no such folder"):
        Cityscapes.prepare(root=str(root / "nowhere"))
    with pytest.raises(DataError, match="there are none"):
        Cityscapes.prepare(root=str(root / "gtFine"))


def test_rooms_in_the_layout(tmp_path: Path, rooms: list[Rendered]) -> None:
    make_rooms(root=str(tmp_path / "a"), train=2, val=1, size="64x128", layout="cityscapes")
    sample = val_sample(tmp_path / "a", depth="metres")
    valid = sample["depth"] > 0
    assert 0.9 < valid.float().mean() < 1
    assert 1 < sample["depth"].max() < 150
    assert {0, 2, 255} <= set(sample["semseg"].unique().tolist())
    stored = stored_disparity(rooms[0].depth)
    assert stored.dtype == np.uint16
    np.testing.assert_allclose(
        BASELINE * FOCAL_LENGTH / ((stored[:, 4:] - 1.0) / 256) / 8, rooms[0].depth[:, 4:], rtol=1e-3
    )
