"""The data set `nyud`, on small trees in both layouts."""

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from mtlbench.datasets.layouts import make_rooms, write_nyud
from mtlbench.datasets.nyud import CLASSES, NYUD
from PIL import Image

from mtlbench.data import collate
from mtlbench.errors import DataError, MtlbenchError
from mtlbench.labels import unit_normals

TASKS = ("semseg", "depth", "normals", "edge")
Kind = Literal["NYUDv2", "NYUD_MT"]


@pytest.fixture(params=["NYUDv2", "NYUD_MT"])
def flavour(request: pytest.FixtureRequest) -> Kind:
    kind: Kind = request.param
    return kind


@pytest.fixture
def root(tmp_path: Path, flavour: Kind) -> Path:
    write_nyud(tmp_path / "nyud", train=2, val=1, size=(45, 60), flavour=flavour)
    return tmp_path / "nyud"


@pytest.fixture
def png(tmp_path: Path) -> Path:
    write_nyud(tmp_path / "nyud", train=2, val=1, size=(45, 60))
    return tmp_path / "nyud"


def test_samples(root: Path, flavour: Kind) -> None:
    NYUD.prepare(root=str(root))
    data = NYUD("train", TASKS, root=str(root))
    assert data.flavour.name == flavour
    assert data.size == (45, 60)
    assert [data[index]["id"] for index in range(len(data))] == ["0001", "0002"]
    sample = data[0]
    assert sample["image"].shape == (3, 45, 60)
    for name, task in NYUD.tasks.items():
        assert type(sample[name]) is task.label_type
    normals = unit_normals(sample["normals"].as_subclass(torch.Tensor))
    assert torch.allclose(torch.linalg.norm(normals, dim=0), torch.ones(45, 60), atol=1e-5)
    assert sample["depth"].shape == (1, 45, 60)
    assert set(sample["edge"].unique().tolist()) == {0, 1}


def test_batches(root: Path) -> None:
    data = NYUD("train", TASKS, root=str(root))
    transform = NYUD.transforms[NYUD.default_transform](data.size)
    batch = collate([transform(data[index]) for index in range(2)], NYUD.tasks)
    assert batch["image"].shape == (2, 3, 45, 60)
    assert batch["semseg"].shape == (2, 45, 60)


def test_both_flavours_hold_the_same_labels(tmp_path: Path) -> None:
    samples = []
    for flavour in ("NYUDv2", "NYUD_MT"):
        write_nyud(tmp_path / flavour, train=1, val=1, size=(45, 60), flavour=flavour)
        samples.append(NYUD("val", TASKS, root=str(tmp_path / flavour))[0])
    for name in ("semseg", "depth", "edge"):
        assert torch.equal(samples[0][name], samples[1][name])
    coded, plain = (unit_normals(sample["normals"].as_subclass(torch.Tensor)) for sample in samples)
    assert (coded - plain).abs().max() < 0.01
    assert (samples[0]["image"].float() - samples[1]["image"].float()).abs().mean() < 8


def test_training_samples_hold_semseg(png: Path) -> None:
    assert "semseg" in NYUD("train", ("depth",), root=str(png))[0]
    assert "semseg" not in NYUD("val", ("depth",), root=str(png))[0]


def test_semseg_values(png: Path) -> None:
    stored = np.zeros((45, 60), dtype=np.uint8)
    stored[0, :2] = 1, 40
    Image.fromarray(stored).save(png / "segmentation" / "0003.png")
    semseg = NYUD("val", ("semseg",), root=str(png))[0]["semseg"]
    assert semseg[0, :3].tolist() == [0, 39, 255]
    assert len(CLASSES) == 40
    assert CLASSES[34] == "lamp"


def test_png_normals_are_decoded(png: Path) -> None:
    stored = np.full((45, 60, 3), 128, dtype=np.uint8)
    stored[0, 0] = 255, 128, 0
    stored[1, 1] = 0, 0, 0
    Image.fromarray(stored).save(png / "normals" / "0003.png")
    coded = NYUD("val", ("normals",), root=str(png))[0]["normals"]
    assert coded.dtype == torch.uint8
    normals = unit_normals(coded.as_subclass(torch.Tensor))
    x, y, z = 1.0, 2 * 128 / 255 - 1, -1.0
    expected = torch.tensor([x, y, z]) / (x * x + y * y + z * z) ** 0.5
    assert torch.allclose(normals[:, 0, 0], expected, atol=1e-6)
    assert torch.allclose(normals[:, 1, 1], torch.full((3,), -(3**-0.5)))  # no pixel of a png is invalid


def test_zero_normals_and_depth_stay_zero(tmp_path: Path) -> None:
    write_nyud(tmp_path / "mt", train=1, val=1, size=(45, 60), flavour="NYUD_MT")
    for folder in ("normals", "depth"):
        path = tmp_path / "mt" / folder / "0002.npy"
        values = np.load(path)
        values[3, 4] = 0
        np.save(path, values.astype(np.float64))
    sample = NYUD("val", TASKS, root=str(tmp_path / "mt"))[0]
    assert not sample["normals"][:, 3, 4].any()
    assert sample["depth"][0, 3, 4] == 0
    assert sample["depth"].dtype == torch.float32


def test_fingerprint_follows_the_files(png: Path) -> None:
    before = NYUD("val", TASKS, root=str(png)).fingerprint()
    assert before == NYUD("val", TASKS, root=str(png)).fingerprint()
    (png / "edge" / "0003.png").write_bytes(b"123")
    assert before != NYUD("val", TASKS, root=str(png)).fingerprint()


def test_missing_root(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        NYUD.prepare(root=str(tmp_path / "nowhere"))


def test_wrong_root(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gt_sets.train\.txt is required"):
        NYUD.prepare(root=str(tmp_path))


def test_missing_folder(root: Path) -> None:
    (root / "edge").rename(root / "edges")
    with pytest.raises(DataError, match="edge is required"):
        NYUD.prepare(root=str(root))


def test_missing_file(root: Path) -> None:
    (root / "depth" / "0002.npy").unlink()
    with pytest.raises(DataError, match=r"0002\.npy is required.*1 of 3"):
        NYUD.prepare(root=str(root))


def test_missing_images(root: Path) -> None:
    for path in (root / "images").iterdir():
        path.unlink()
    with pytest.raises(DataError, match="neither is there"):
        NYUD.prepare(root=str(root))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "found none"),
        ("0001\n\n0002\n", "line 2"),
        ("0001\n0001\n", "once"),
        (" 0001\n", "line 1"),
        ("0001\n0003\n", "share no image"),
    ],
)
def test_bad_split_file(png: Path, text: str, message: str) -> None:
    (png / "gt_sets" / "train.txt").write_text(text)
    with pytest.raises(DataError, match=message):
        NYUD.prepare(root=str(png))


def test_split_file_of_windows(png: Path) -> None:
    (png / "gt_sets" / "train.txt").write_bytes(b"0001\r\n0002\r\n")
    assert NYUD("train", TASKS, root=str(png)).ids == ["0001", "0002"]


@pytest.mark.parametrize("folder", ["images", "segmentation", "depth", "normals", "edge"])
@pytest.mark.parametrize("damage", ["cut", "empty"])
def test_damaged_file(root: Path, folder: str, damage: str) -> None:
    data = NYUD("train", TASKS, root=str(root))
    path = next((root / folder).glob("0002.*"))
    path.write_bytes(path.read_bytes()[:60] if damage == "cut" else b"")
    with pytest.raises(DataError, match=path.name):
        data[1]


@pytest.mark.parametrize("folder", ["images", "segmentation", "depth", "normals", "edge"])
def test_wrong_size(root: Path, folder: str) -> None:
    data = NYUD("train", TASKS, root=str(root))
    path = next((root / folder).glob("0002.*"))
    if path.suffix == ".npy":
        np.save(path, np.load(path)[:-1])
    else:
        with Image.open(path) as image:
            image.crop((0, 0, 50, 45)).save(path)
    with pytest.raises(DataError, match="45"):
        data[1]


def test_wrong_values(png: Path) -> None:
    data = NYUD("train", TASKS, root=str(png))
    Image.fromarray(np.full((45, 60), 41, dtype=np.uint8)).save(png / "segmentation" / "0001.png")
    with pytest.raises(DataError, match="found 41"):
        data[0]
    np.save(png / "depth" / "0002.npy", np.full((45, 60), np.nan))
    with pytest.raises(DataError, match="finite"):
        data[1]


def test_wrong_mode(png: Path) -> None:
    Image.fromarray(np.zeros((45, 60), dtype=np.uint8)).save(png / "images" / "0002.png")
    with pytest.raises(DataError, match="found mode L"):
        NYUD("train", TASKS, root=str(png))[1]


def test_nan_normals(tmp_path: Path) -> None:
    write_nyud(tmp_path / "mt", train=1, val=1, size=(45, 60), flavour="NYUD_MT")
    np.save(tmp_path / "mt" / "normals" / "0001.npy", np.full((45, 60, 3), np.nan))
    with pytest.raises(DataError, match="NaN"):
        NYUD("train", TASKS, root=str(tmp_path / "mt"))[0]


def test_make_rooms_in_the_layout(tmp_path: Path) -> None:
    make_rooms(root=str(tmp_path / "a"), train=1, val=1, size="32x48", layout="nyud")
    assert NYUD("val", TASKS, root=str(tmp_path / "a")).size == (32, 48)
    with pytest.raises(MtlbenchError, match="empty or absent"):
        make_rooms(root=str(tmp_path / "a"), train=1, val=1, layout="nyud")
    with pytest.raises(MtlbenchError, match="nyud"):
        make_rooms(root=str(tmp_path / "b"), train=1, val=1, layout="nyu")


@pytest.mark.parametrize(
    ("folder", "values", "message"),
    [
        ("depth", np.full((45, 60), 2, np.int32), "floats, found int32"),
        ("edge", np.full((45, 60), 2, np.float32), "0 and 1, or 0 and 255, found 2"),
        ("edge", np.full((45, 60), np.nan, np.float32), "found nan"),
    ],
)
def test_arrays_of_other_values(tmp_path: Path, folder: str, values: np.ndarray, message: str) -> None:
    write_nyud(tmp_path / "mt", train=1, val=1, size=(45, 60), flavour="NYUD_MT")
    np.save(tmp_path / "mt" / folder / "0001.npy", values)
    with pytest.raises(DataError, match=message):
        NYUD("train", TASKS, root=str(tmp_path / "mt"))[0]


def test_edges_of_either_form(png: Path) -> None:
    stored = np.zeros((45, 60), np.uint8)
    stored[4, 5:9] = 1
    Image.fromarray(stored).save(png / "edge" / "0003.png")
    assert NYUD("val", ("edge",), root=str(png))[0]["edge"].sum() == 4


@pytest.mark.parametrize("content", [b"PK\x03\x04junk", b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', ", b""])
def test_files_that_are_no_arrays(tmp_path: Path, content: bytes) -> None:
    write_nyud(tmp_path / "mt", train=1, val=1, size=(45, 60), flavour="NYUD_MT")
    path = tmp_path / "mt" / "depth" / "0001.npy"
    path.write_bytes(content)
    with pytest.raises(DataError, match=str(path)):
        NYUD("train", TASKS, root=str(tmp_path / "mt"))[0]
    found = NYUD.check(None, lambda done: None, root=str(tmp_path / "mt"))
    assert any(str(path) in finding.found for finding in found if finding.state == "damaged")
