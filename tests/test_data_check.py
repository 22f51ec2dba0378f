"""`mtlbench data check`: what is whole, what is damaged, and what it leaves for results."""

import json
from pathlib import Path

import numpy as np
import pytest
from mtlbench.datasets.integrity import MANIFEST
from mtlbench.datasets.layouts import write_nyud
from mtlbench.datasets.nyud import NYUD
from mtlbench.datasets.rooms import Rooms
from PIL import Image

from mtlbench.checking import Finding
from mtlbench.cli import run_from_arguments
from mtlbench.errors import DataError


@pytest.fixture(params=["NYUDv2", "NYUD_MT"])
def root(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    write_nyud(tmp_path / "nyud", train=3, val=2, size=(45, 60), flavour=request.param)
    return tmp_path / "nyud"


def check(root: Path, count: int | None = None) -> list[Finding]:
    return NYUD.check(count, lambda done: None, root=str(root))


def damaged(root: Path, count: int | None = None) -> list[str]:
    return [finding.found for finding in check(root, count) if finding.state == "damaged"]


def unusual(root: Path) -> list[str]:
    return [finding.found for finding in check(root) if finding.state == "unusual"]


def some_file(root: Path, folder: str, name: str = "0002") -> Path:
    return next((root / folder).glob(f"{name}.*"))


def test_a_whole_archive(root: Path) -> None:
    assert damaged(root) == []
    texts = {finding.what: finding.found for finding in check(root)}
    assert "3, the published split has 795" in texts["train: images"]
    assert "15 files of 3 images" in texts["train: files"]
    assert texts["val: pictures"] == "all read, 45x60"
    assert "values from" in texts["train: depth"]
    assert "of 40 classes" in texts["train: semseg"]


@pytest.mark.parametrize("folder", ["images", "segmentation", "depth", "normals", "edge"])
def test_a_file_that_is_cut_short_is_found_without_reading_samples(root: Path, folder: str) -> None:
    path = some_file(root, folder)
    path.write_bytes(path.read_bytes()[:-20])
    assert any(str(path) in text for text in damaged(root, count=1))


@pytest.mark.parametrize("folder", ["images", "segmentation", "depth", "normals", "edge"])
def test_a_missing_file(root: Path, folder: str) -> None:
    path = some_file(root, folder)
    path.unlink()
    assert any(str(path) in text and "1 of 3" in text for text in damaged(root))


def test_another_size_is_found_from_the_header(root: Path) -> None:
    path = some_file(root, "depth")
    np.save(path, np.load(path)[:-1])
    assert any(str(path) in text and "45x60" in text and "44x60" in text for text in damaged(root, count=1))


def test_values_that_can_not_be(root: Path) -> None:
    path = some_file(root, "depth", "0004")
    depth = np.load(path)
    depth[3, 5:9] = np.nan
    np.save(path, depth)
    segmentation = some_file(root, "segmentation", "0001")
    Image.fromarray(np.full((45, 60), 77, np.uint8)).save(segmentation)
    texts = damaged(root)
    assert any(str(path) in text and "4 NaN" in text and "2700" in text for text in texts)
    assert any(str(segmentation) in text and "found 77" in text for text in texts)


def test_corrupt_contents_behind_a_good_header(tmp_path: Path) -> None:
    write_nyud(tmp_path / "nyud", train=2, val=1, size=(45, 60))
    path = some_file(tmp_path / "nyud", "images")
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 40] = bytes(40)
    path.write_bytes(bytes(content))
    assert any(str(path) in text for text in damaged(tmp_path / "nyud"))


def test_splits_that_share(root: Path) -> None:
    (root / "gt_sets" / "val.txt").write_text("0003\n0004\n")
    assert any("1 ids are in both, 0003" in text for text in damaged(root))


def test_a_mirrored_copy_in_the_other_split(tmp_path: Path) -> None:
    write_nyud(tmp_path / "nyud", train=2, val=1, size=(48, 64))
    assert not any("look the same" in text for text in unusual(tmp_path / "nyud"))
    with Image.open(tmp_path / "nyud" / "images" / "0001.png") as image:
        image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(tmp_path / "nyud" / "images" / "0003.png")
    assert any("look the same in train and val" in text for text in unusual(tmp_path / "nyud"))


def test_a_blank_picture_and_values_out_of_the_ordinary(root: Path) -> None:
    path = some_file(root, "images", "0004")
    Image.fromarray(np.full((45, 60, 3), 9, np.uint8)).save(path)
    depth = some_file(root, "depth", "0001")
    np.save(depth, np.load(depth) * 100)
    assert any("one colour all over: 0004" in text for text in damaged(root))
    assert any("usual are 0.1 to 15" in text for text in unusual(root))


def test_an_empty_split(root: Path) -> None:
    (root / "gt_sets" / "val.txt").write_text("")
    with pytest.raises(DataError, match=r"val\.txt.*found none"):
        check(root)


def test_checksums_follow_contents_not_times(root: Path) -> None:
    made = NYUD("val", ("depth",), root=str(root))
    assert made.checksum() is None
    before = {f.what: f.found for f in check(root) if f.what.endswith("checksum")}
    known = made.checksum()
    assert known == before["val: checksum"]
    path = some_file(root, "depth", "0004")
    content = path.read_bytes()
    path.write_bytes(content)
    assert made.checksum() is None  # nobody has read the file since
    assert {f.what: f.found for f in check(root) if f.what.endswith("checksum")} == before
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    after = {f.what: f.found for f in check(root) if f.what.endswith("checksum")}
    assert after["val: checksum"] != before["val: checksum"]
    assert after["train: checksum"] == before["train: checksum"]


def test_unchanged_files_are_not_read_again(root: Path) -> None:
    check(root)
    manifest = json.loads((root / MANIFEST).read_text())
    name = next(key for key in manifest if key.startswith("depth"))
    manifest[name][2] = 12345
    (root / MANIFEST).write_text(json.dumps(manifest))
    check(root)
    assert json.loads((root / MANIFEST).read_text())[name][2] == 12345


def test_a_changed_file_is_said(root: Path) -> None:
    check(root)
    path = some_file(root, "depth")
    np.save(path, np.load(path) + np.float32(0.01))
    assert any(f"depth/{path.name}" in text and "changed" in text for text in unusual(root))


def test_a_made_data_set(tmp_path: Path) -> None:
    options = {"root": str(tmp_path / "rooms"), "train": 4, "val": 2, "size": "32x48"}
    seen: list[int] = []
    findings = Rooms.check(None, seen.append, **options)
    assert {finding.state for finding in findings} <= {"ok", "unusual"}
    assert sum(seen) == 6


def test_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def mtlbench(*arguments: str) -> int:
        monkeypatch.setattr("sys.argv", ["mtlbench", "data", "check", "nyud", *arguments])
        return run_from_arguments()

    root = tmp_path / "nyud"
    write_nyud(root, train=3, val=2, size=(45, 60))
    assert mtlbench(str(root)) == 0
    assert "nothing damaged" in capsys.readouterr().out
    path = some_file(root, "images")
    path.write_bytes(path.read_bytes()[:100])
    assert mtlbench(str(root), "--samples", "1") == 1
    assert path.name in capsys.readouterr().out
    assert mtlbench(str(tmp_path / "nowhere")) == 1
    assert mtlbench(str(root), "--option", "sizes=3x4") == 2
    assert "sizes" in capsys.readouterr().err
