"""The data set `pascal_context`, on small trees with the special cases of the real archives."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mtlbench.datasets.layout_pascal import _records, _save_mat, part_object
from mtlbench.datasets.layouts import make_rooms, write_pascal_context
from mtlbench.datasets.pascal_classes import CONTEXT_IDS, NORMALS_IDS, PART_OF
from mtlbench.datasets.pascal_context import PASCALContext
from mtlbench.datasets.pascal_maps import laplacian
from PIL import Image
from scipy.ndimage import laplace

from mtlbench.boundary.thinning import thin
from mtlbench.boundary.truth import true_boundaries
from mtlbench.data import collate
from mtlbench.errors import DataError, MtlbenchError
from mtlbench.labels import unit_normals

TASKS = tuple(PASCALContext.tasks)
SIZE = (50, 67)
VAL = "2008_000004"
FILES = {
    "JPEGImages": "jpg",
    "semseg/VOC12": "png",
    "human_parts": "mat",
    "normals_distill": "png",
    "sal_distill": "png",
    "pascal-context/trainval": "mat",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Training images 1 to 3, validation images 4 (50x67) and 5 (67x50)."""
    write_pascal_context(tmp_path / "pascal", train=3, val=2, size=SIZE)
    return tmp_path / "pascal"


def val_sample(root: Path, tasks: tuple[str, ...] = TASKS) -> dict[str, Any]:
    return PASCALContext("val", tasks, root=str(root), size="80x80")[0]


def write_parts(root: Path, name: str, objects: list[tuple[Any, ...]]) -> None:
    anno = _records(
        ("imname", "objects"), [(name, _records(("class", "class_ind", "mask", "parts"), objects))]
    )
    _save_mat(root / "human_parts" / f"{name}.mat", {"anno": anno})


def box(top: int, left: int, bottom: int, right: int) -> np.ndarray:
    mask = np.zeros(SIZE, np.uint8)
    mask[top:bottom, left:right] = 1
    return mask


def write_label_map(root: Path, values: np.ndarray, name: str = VAL) -> None:
    _save_mat(root / "pascal-context" / "trainval" / f"{name}.mat", {"LabelMap": values})


def test_samples_of_many_sizes(root: Path) -> None:
    PASCALContext.prepare(root=str(root))
    data = PASCALContext("train", TASKS, root=str(root), size="96x80")
    assert [data[i]["id"] for i in range(3)] == ["2008_000001", "2008_000002", "2008_000003"]
    assert [data[i]["image"].shape[1:] for i in range(3)] == [(50, 67), (67, 50), (50, 50)]
    batch = collate(
        [data.transforms[data.default_transform](data.size)(data[i]) for i in range(3)], data.tasks
    )
    assert batch["image"].shape == (3, 3, 96, 80)
    val = PASCALContext("val", TASKS, root=str(root), size="96x80")
    padded = [val.pad(val[i]) for i in range(2)]
    assert [sample["image"].shape[1:] for sample in padded] == [(96, 80)] * 2
    assert (padded[0]["semseg"][:23] == 255).all()  # floor(46 / 2) rows before
    assert (padded[0]["edge"][:23] == 255).all()
    assert torch.equal(padded[0]["image"][:, 23:73, 6:73], val[0]["image"])


def test_semseg_comes_from_voc_first(root: Path) -> None:
    both = np.zeros(SIZE, np.uint8)
    Image.fromarray(both + 3).save(root / "semseg" / "pascal-context" / f"{VAL}.png")
    both[0, :3] = 20, 255, 15
    Image.fromarray(both).save(root / "semseg" / "VOC12" / f"{VAL}.png")
    semseg = val_sample(root)["semseg"]
    assert semseg[0, :4].tolist() == [20, 255, 15, 0]
    (root / "semseg" / "VOC12" / f"{VAL}.png").unlink()
    assert (val_sample(root)["semseg"] == 3).all()


def test_semseg_as_a_palette(root: Path) -> None:
    """VOC's own files are palette images."""
    image = Image.fromarray(np.full(SIZE, 20, np.uint8), mode="P")
    image.putpalette(bytes(range(256)) * 3)
    image.save(root / "semseg" / "VOC12" / f"{VAL}.png")
    assert (val_sample(root)["semseg"] == 20).all()


def test_parts_of_two_persons(root: Path) -> None:
    first = {"head": box(0, 0, 10, 10), "torso": box(10, 0, 20, 10)}
    second = {"luarm": box(5, 5, 15, 15), "llleg": box(30, 30, 40, 40)}
    write_parts(
        root,
        VAL,
        [
            part_object("person", 15, box(0, 0, 20, 10), first),
            part_object("dog", 12, box(20, 20, 40, 40), {"head": box(20, 20, 30, 30)}),
            part_object("person", 15, box(5, 5, 40, 40), second),
            part_object("person", 15, box(40, 40, 50, 50), None),
        ],
    )
    parts = val_sample(root)["human_parts"]
    assert parts[2, 2] == 1
    assert parts[18, 2] == 2
    assert parts[8, 8] == parts[12, 7] == 3  # later parts overwrite earlier ones
    assert parts[35, 35] == 6
    assert parts[25, 25] == 0
    assert set(parts.unique().tolist()) == {0, 1, 2, 3, 6}


def test_all_names_of_parts(root: Path) -> None:
    assert len(PART_OF) == 24
    masks = {name: box(row, 0, row + 1, 67) for row, name in enumerate(PART_OF)}
    write_parts(root, VAL, [part_object("person", 15, box(0, 0, 24, 67), masks)])
    parts = val_sample(root)["human_parts"]
    assert parts[:24, 0].tolist() == list(PART_OF.values())


@pytest.mark.parametrize(
    "objects",
    [
        [part_object("dog", 12, box(0, 0, 9, 9), {"head": box(0, 0, 5, 5)})],
        [part_object("person", 15, box(0, 0, 9, 9), None)],
    ],
    ids=["dog", "person without parts"],
)
def test_nobody_is_background_then_ignored(root: Path, objects: list[tuple[Any, ...]]) -> None:
    write_parts(root, VAL, objects)
    data = PASCALContext("val", TASKS, root=str(root), size="80x80")
    assert (data[0]["human_parts"] == 0).all()
    assert (data.pad(data[0])["human_parts"] == 255).all()


def test_saliency(root: Path) -> None:
    stored = np.zeros(SIZE, np.uint8)
    stored[0, :3] = 127, 128, 255
    Image.fromarray(stored).save(root / "sal_distill" / f"{VAL}.png")
    assert val_sample(root)["sal"][0, :4].tolist() == [0, 1, 1, 0]


def test_normals_count_where_the_class_has_them(root: Path) -> None:
    label_map = np.full(SIZE, 440, np.uint16)
    label_map[0, :5] = 0, 2, 427, 459, 3
    write_label_map(root, label_map)
    stored = np.full((*SIZE, 3), 128, np.uint8)
    stored[0, :] = 255, 0, 128
    stored[1, 1] = 0
    Image.fromarray(stored).save(root / "normals_distill" / f"{VAL}.png")
    coded = val_sample(root)["normals"].as_subclass(torch.Tensor)
    assert coded.dtype == torch.uint8
    normals = unit_normals(coded)
    assert (normals.norm(dim=0)[0, :6] > 0).tolist() == [False, False, True, False, True, True]
    expected = torch.tensor([1.0, -1.0, 2 * 128 / 255 - 1])
    torch.testing.assert_close(normals[:, 0, 2], expected / expected.norm())
    assert torch.allclose(normals[:, 1, 1], torch.full((3,), -(3**-0.5)))  # black is a direction too
    assert len(set(NORMALS_IDS)) == 170
    assert set(NORMALS_IDS) & set(CONTEXT_IDS) >= {284, 72, 397, 368, 427}


def test_edges_for_training_and_evaluation(root: Path) -> None:
    values = np.random.default_rng(0).choice([2, 440, 158], (5, 7)).astype(np.uint16)
    label_map = values.repeat(10, 0).repeat(10, 1)[: SIZE[0], : SIZE[1]]
    for name in ("2008_000001", VAL):
        write_label_map(root, label_map, name)
    trained = PASCALContext("train", TASKS, root=str(root))[0]["edge"]
    expected = thin(laplace(label_map.astype(float), mode="mirror") != 0)
    assert torch.equal(trained, torch.from_numpy(expected.astype(np.uint8)))
    scored = val_sample(root)["edge"]
    assert torch.equal(scored, torch.from_numpy(true_boundaries(label_map, "labels").astype(np.uint8)))
    assert not torch.equal(trained, scored)
    assert set(scored.unique().tolist()) == {0, 1}


def test_laplacian_of_neighbours_that_cancel_out() -> None:
    ramp = np.tile(np.arange(5, dtype=np.uint16), (3, 1))
    assert laplacian(ramp).tolist() == [[2, 0, 0, 0, -2]] * 3


def test_short_list_of_edges(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "mtlbench.datasets.pascal_context")
    PASCALContext.prepare(root=str(root))
    assert "scored on all 2 validation images" in caplog.text
    caplog.clear()
    before = PASCALContext("val", TASKS, root=str(root)).fingerprint()
    (root / "ImageSets" / "Context" / "test_new.txt").write_text("2008_000005\n")
    PASCALContext.prepare(root=str(root))
    assert not caplog.text
    data = PASCALContext("val", TASKS, root=str(root), size="80x80")
    assert data.fingerprint() != before
    assert "edge" not in data[0]
    assert "edge" in data[1]
    batch = collate([data.pad(data[i]) for i in range(2)], data.tasks)
    assert (batch["edge"][0] == 255).all()
    assert (batch["edge"][1] != 255).sum() == 50 * 67
    assert "edge" in PASCALContext("train", TASKS, root=str(root))[0]
    (root / "ImageSets" / "Context" / "test_new.txt").write_text("2008_000001\n")
    with pytest.raises(
        DataError, match=r"test_new\.txt must name images of val\.txt only, found '2008_000001'"
    ):
        PASCALContext.prepare(root=str(root))


def test_only_parts_leaves_images_without_a_person_out(root: Path) -> None:
    person = part_object("person", 15, box(0, 0, 9, 9), None)
    nobody = part_object("dog", 12, box(0, 0, 9, 9), None)
    hidden = part_object("person", 15, box(0, 0, 0, 0), None)
    for number, thing in enumerate((nobody, person, hidden), start=1):
        write_parts(root, f"2008_00000{number}", [thing])
    assert PASCALContext("train", ("human_parts",), root=str(root)).ids == ["2008_000002"]
    assert len(PASCALContext("train", ("human_parts", "sal"), root=str(root))) == 3
    assert len(PASCALContext("val", ("human_parts",), root=str(root))) == 2
    assert not list((root / "ImageSets" / "Parts").iterdir())


def test_lists_of_published_loaders_are_used(tmp_path: Path) -> None:
    root = tmp_path / "pascal"
    write_pascal_context(root, train=3, val=1, size=SIZE)
    for path in (root / "human_parts").iterdir():
        path.write_bytes(b"")
    lists = root / "ImageSets" / "Parts"
    (lists / "a.txt").write_text("{")
    (lists / "train.txt").write_text(
        json.dumps({"2008_000001": [15, -1], "2008_000002": [-1], "2008_000003": [12, 15]})
    )
    assert PASCALContext("train", ("human_parts",), root=str(root)).ids == ["2008_000001", "2008_000003"]


def test_nobody_anywhere(root: Path) -> None:
    for number in (1, 2, 3):
        write_parts(root, f"2008_00000{number}", [part_object("dog", 12, box(0, 0, 9, 9), None)])
    with pytest.raises(DataError, match="must hold a person in some image"):
        PASCALContext("train", ("human_parts",), root=str(root))


@pytest.mark.parametrize("folder", FILES)
@pytest.mark.parametrize("damage", ["cut", "empty", "gone"])
def test_damaged_file(root: Path, folder: str, damage: str) -> None:
    path = root / folder / f"{VAL}.{FILES[folder]}"
    whole = path.read_bytes()
    if damage == "gone":
        path.unlink()
        with pytest.raises(DataError, match=VAL):
            PASCALContext.prepare(root=str(root))
        return
    path.write_bytes(whole[: len(whole) // 2] if damage == "cut" else b"")
    with pytest.raises(DataError, match=path.name):
        val_sample(root)


@pytest.mark.parametrize("folder", ["semseg/VOC12", "normals_distill", "sal_distill"])
def test_wrong_size(root: Path, folder: str) -> None:
    path = root / folder / f"{VAL}.png"
    with Image.open(path) as image:
        image.crop((0, 0, 60, 50)).save(path)
    with pytest.raises(DataError, match="found 50x60"):
        val_sample(root)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda root: write_label_map(root, np.full(SIZE, 460, np.uint16)), "0 to 459, found 460"),
        (
            lambda root: write_label_map(root, np.zeros((9, 9), np.uint16)),
            r"size, \(50, 67\), found .* \(9, 9\)",
        ),
        (
            lambda root: _save_mat(root / f"pascal-context/trainval/{VAL}.mat", {"Other": np.zeros(SIZE)}),
            "must hold `LabelMap`, but does not",
        ),
        (
            lambda root: write_parts(
                root, VAL, [part_object("p", 15, box(0, 0, 9, 9), {"tail": box(0, 0, 3, 3)})]
            ),
            "found 'tail' on a person",
        ),
        (
            lambda root: write_parts(
                root, VAL, [part_object("p", 15, box(0, 0, 9, 9), {"head": np.ones((3, 3))})]
            ),
            r"found \(3, 3\) for 'head'",
        ),
        (
            lambda root: _save_mat(root / f"human_parts/{VAL}.mat", {"anno": np.ones((2, 2))}),
            "must hold `anno` as PASCAL-Part builds it",
        ),
        (
            lambda root: Image.fromarray(np.full(SIZE, 21, np.uint8)).save(root / f"semseg/VOC12/{VAL}.png"),
            "found 21",
        ),
        (
            lambda root: Image.fromarray(np.zeros(SIZE, np.uint8)).save(root / f"normals_distill/{VAL}.png"),
            "found mode L",
        ),
    ],
)
def test_wrong_content(root: Path, change: Any, message: str) -> None:
    change(root)
    with pytest.raises(DataError, match=message) as caught:
        val_sample(root)
    assert VAL in str(caught.value)


def test_images_larger_than_the_size(root: Path) -> None:
    data = PASCALContext("val", TASKS, root=str(root), size="48x80")
    with pytest.raises(MtlbenchError, match="got 48x80 where 2008_000004 has 50x67"):
        data.pad(data[0])
    with pytest.raises(MtlbenchError, match="got 48x80 where 2008_000004 has 50x67"):
        PASCALContext.prepare(root=str(root), size="48x80")


def test_empty_split(root: Path) -> None:
    (root / "ImageSets" / "Context" / "val.txt").write_text("")
    with pytest.raises(DataError, match="found none"):
        PASCALContext.prepare(root=str(root))


def test_rooms_in_the_layout(tmp_path: Path) -> None:
    make_rooms(root=str(tmp_path / "a"), train=8, val=1, size="48x64", layout="pascal_context")
    data = PASCALContext("train", TASKS, root=str(tmp_path / "a"))
    samples = [data[index] for index in range(8)]
    shown = [set(sample["human_parts"].unique().tolist()) for sample in samples]
    assert {0} in shown
    assert any(len(parts) > 4 for parts in shown)
    assert set().union(*(sample["semseg"].unique().tolist() for sample in samples)) >= {0, 9, 15, 255}
    assert sum(f.stat().st_size for f in (tmp_path / "a").rglob("*") if f.is_file()) < 2e6
