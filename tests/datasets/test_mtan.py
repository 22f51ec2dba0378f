"""The data sets `nyuv2_mtan` and `cityscapes_mtan`, on small trees."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mtlbench.datasets.layouts import make_rooms, write_cityscapes_mtan, write_nyuv2_mtan
from mtlbench.datasets.mtan import CityscapesMTAN, NYUv2MTAN

from mtlbench.data import collate
from mtlbench.errors import DataError, MtlbenchError
from mtlbench.labels import Depth, Disparity

INDOOR, STREET = tuple(NYUv2MTAN.tasks), tuple(CityscapesMTAN.tasks)


@pytest.fixture
def nyu(tmp_path: Path) -> Path:
    write_nyuv2_mtan(tmp_path / "nyuv2", train=3, val=1, size=(36, 48))
    return tmp_path / "nyuv2"


@pytest.fixture
def streets(tmp_path: Path) -> Path:
    write_cityscapes_mtan(tmp_path / "cityscapes", train=2, val=1, size=(16, 32))
    return tmp_path / "cityscapes"


def indoor(root: Path) -> dict[str, Any]:
    return NYUv2MTAN("val", INDOOR, root=str(root))[0]


def test_samples(nyu: Path) -> None:
    NYUv2MTAN.prepare(root=str(nyu))
    data = NYUv2MTAN("train", INDOOR, root=str(nyu))
    assert data.ids == ["train/0", "train/1", "train/2"]
    assert data.size == (36, 48)
    assert data[0]["image"].shape == (3, 36, 48)
    assert type(data[0]["depth"]) is Depth
    assert {task.primary for task in data.tasks.values()} == {
        "miou.dataset.absentnan",
        "depth.abs_err",
        "normals.mean.batches",
    }
    batch = collate(
        [data.transforms[data.default_transform](data.size)(data[i]) for i in range(3)], data.tasks
    )
    assert batch["normals"].shape == (3, 3, 36, 48)


@pytest.mark.parametrize("width", ["float32", "float64"])
def test_values(nyu: Path, width: str) -> None:
    image, label, depth, normal = (
        np.load(nyu / "val" / name / "0.npy").astype(width) for name in ("image", "label", "depth", "normal")
    )
    image[0, :4, 0] = 0, 1, 100 / 255, 100.4 / 255
    label[0, :3] = -1, 0, 12
    depth[0, :2, 0] = 0, 2.5
    normal[0, 0], normal[0, 1] = 0, (0.6, 0, 0.8)
    for name, values in {"image": image, "label": label, "depth": depth, "normal": normal}.items():
        np.save(nyu / "val" / name / "0.npy", values)
    sample = indoor(nyu)
    assert sample["image"][0, 0, :4].tolist() == [0, 255, 100, 100]
    assert sample["semseg"][0, :3].tolist() == [255, 0, 12]
    assert sample["depth"][0, 0, :2].tolist() == [0, 2.5]
    assert sample["depth"].dtype == torch.float32
    assert not sample["normals"][:, 0, 0].any()
    torch.testing.assert_close(
        sample["normals"][:, 0, 1].as_subclass(torch.Tensor), torch.tensor([0.6, 0, 0.8])
    )


def test_streets(streets: Path) -> None:
    CityscapesMTAN.prepare(root=str(streets))
    inverse = np.zeros((16, 32, 1), np.float32)
    inverse[0, 1] = 32257 / 65535
    np.save(streets / "val" / "depth" / "0.npy", inverse)
    np.save(streets / "val" / "label" / "0.npy", np.tile(np.arange(-1.0, 7), (16, 4)))
    data = CityscapesMTAN("val", STREET, root=str(streets))
    sample = data[0]
    assert type(sample["depth"]) is Disparity
    assert sample["depth"].max() == np.float32(32257 / 65535)
    assert sample["depth"][0, 0, 0] == 0
    assert sample["semseg"][0, :8].tolist() == [255, 0, 1, 2, 3, 4, 5, 6]
    assert data.tasks["semseg"].channels == 7
    assert data.tasks["depth"].label_type is Disparity


def test_7_or_19_classes(tmp_path: Path) -> None:
    root = tmp_path / "large"
    write_cityscapes_mtan(root, train=1, val=1, size=(256, 512))
    for classes in (7, 19):
        CityscapesMTAN.prepare(root=str(root), classes=classes)
        data = CityscapesMTAN("val", STREET, root=str(root), classes=classes)  # type: ignore[arg-type]
        assert data.paths("val/0")["semseg"].parent.name == f"label_{classes}"
        assert data.tasks["semseg"].channels == len(data.tasks["semseg"].classes) == classes
        found = data[0]["semseg"].unique()
        assert found[found != 255].max() < classes
        assert classes == int(data.decoding_options)
    assert CityscapesMTAN.tasks["semseg"].channels == 7


def test_19_classes_in_the_folder_label(streets: Path) -> None:
    np.save(streets / "val" / "label" / "0.npy", np.full((16, 32), 18.0))
    with pytest.raises(DataError, match=r"0\.npy must hold the classes -1 to 6, found 18"):
        CityscapesMTAN("val", STREET, root=str(streets))[0]
    assert (CityscapesMTAN("val", STREET, root=str(streets), classes=19)[0]["semseg"] == 18).all()


def test_wrong_number_of_classes(streets: Path) -> None:
    with pytest.raises(MtlbenchError, match="19"):
        CityscapesMTAN("val", STREET, root=str(streets), classes=8)  # type: ignore[arg-type]


def test_numbering(nyu: Path) -> None:
    (nyu / "train" / "image" / "1.npy").rename(nyu / "train" / "image" / "3.npy")
    with pytest.raises(DataError, match=r"1\.npy is required.*from 0 on without a gap, found 3"):
        NYUv2MTAN.prepare(root=str(nyu))


def test_missing(nyu: Path) -> None:
    (nyu / "val" / "depth" / "0.npy").unlink()
    with pytest.raises(DataError, match=r"depth.0\.npy is required"):
        NYUv2MTAN.prepare(root=str(nyu))
    (nyu / "val" / "image" / "0.npy").unlink()
    with pytest.raises(DataError, match=r"image.0\.npy is required.*found 0"):
        NYUv2MTAN.prepare(root=str(nyu))
    (nyu / "val" / "image").rmdir()
    with pytest.raises(DataError, match="image is required"):
        NYUv2MTAN.prepare(root=str(nyu))


@pytest.mark.parametrize("folder", ["image", "label", "depth", "normal"])
@pytest.mark.parametrize("damage", ["cut", "empty", "size", "text"])
def test_damaged_file(nyu: Path, folder: str, damage: str) -> None:
    path = nyu / "train" / folder / "1.npy"
    whole = path.read_bytes()
    if damage == "size":
        np.save(path, np.load(path)[:-1])
    elif damage == "text":
        np.save(path, np.full((36, 48), "a"))
    else:
        path.write_bytes(whole[: len(whole) // 2] if damage == "cut" else b"")
    with pytest.raises(DataError, match=rf"{folder}.1\.npy"):
        NYUv2MTAN("train", INDOOR, root=str(nyu))[1]


@pytest.mark.parametrize("damage", ["cut", "flat"])
def test_damaged_first_image(nyu: Path, damage: str) -> None:
    path = nyu / "val" / "image" / "0.npy"
    if damage == "flat":
        np.save(path, np.zeros(5))
    else:
        path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(DataError, match=r"0\.npy"):
        NYUv2MTAN("val", INDOOR, root=str(nyu))


@pytest.mark.parametrize(
    ("folder", "value", "message"),
    [
        ("image", np.full((36, 48, 3), 1.1), "floats from 0 to 1, found float64 from 1.1 to 1.1"),
        ("image", np.full((36, 48, 3), np.nan), "floats from 0 to 1"),
        ("image", np.zeros((36, 48, 3), np.uint8), "found uint8"),
        ("label", np.full((36, 48), 13.0), "-1 to 12, found 13"),
        ("label", np.full((36, 48), -2), "found -2"),
        ("label", np.full((36, 48), 0.5), "found 0.5"),
        ("label", np.full((36, 48), np.nan), "found nan"),
        ("depth", np.full((36, 48, 1), np.nan), "1728 NaN"),
        ("depth", np.full((36, 48, 1), -1.0), "finite numbers >= 0"),
        ("normal", np.full((36, 48, 3), np.inf), "found NaN or infinity"),
    ],
)
def test_wrong_values(nyu: Path, folder: str, value: np.ndarray, message: str) -> None:
    np.save(nyu / "val" / folder / "0.npy", value)
    with pytest.raises(DataError, match=message) as caught:
        indoor(nyu)
    assert str(nyu / "val" / folder / "0.npy") in str(caught.value)


def test_rooms_in_the_layouts(tmp_path: Path) -> None:
    make_rooms(root=str(tmp_path / "a"), train=2, val=1, size="36x48", layout="nyuv2_mtan")
    sample = indoor(tmp_path / "a")
    assert {4, 11, 255} <= set(sample["semseg"].unique().tolist())
    make_rooms(root=str(tmp_path / "b"), train=2, val=1, size="16x32", layout="cityscapes_mtan")
    disparity = CityscapesMTAN("val", STREET, root=str(tmp_path / "b"))[0]["depth"]
    assert 0 < disparity.max() <= 1
    assert (disparity == 0).any()
