"""Decoded samples: the same as those of the files, found again, made anew when files change."""

import json
import pickle
from pathlib import Path

import pytest
import torch
from mtlbench.datasets import decoded
from mtlbench.datasets.layouts import write_nyud
from mtlbench.datasets.nyud import NYUD

TASKS = tuple(NYUD.tasks)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv(decoded.VARIABLE, raising=False)
    write_nyud(tmp_path / "nyud", train=3, val=2, size=(45, 60), flavour="NYUD_MT")
    return tmp_path / "nyud"


def folders(root: Path) -> list[str]:
    place = root / ".mtlbench-cache"
    return sorted(path.name for path in place.iterdir()) if place.exists() else []


def assert_same(first: NYUD, second: NYUD) -> None:
    for index in range(len(first)):
        a, b = first[index], second[index]
        assert a.keys() == b.keys()
        for key in a.keys() - {"id"}:
            assert type(a[key]) is type(b[key])
            assert torch.equal(a[key], b[key])


@pytest.mark.parametrize("tasks", [TASKS, ("depth",)])
def test_samples_are_those_of_the_files(root: Path, tasks: tuple[str, ...]) -> None:
    from_files = [NYUD(split, tasks, root=str(root)) for split in ("train", "val")]
    expected = [[made[index] for index in range(len(made))] for made in from_files]
    NYUD.cache(root=str(root))
    for split, samples in zip(("train", "val"), expected, strict=True):
        made = NYUD(split, tasks, root=str(root))
        assert made._decoded is not None
        for index, sample in enumerate(samples):
            found = made[index]
            assert found.keys() == sample.keys()
            assert all(
                torch.equal(found[k], v) and type(found[k]) is type(v) for k, v in sample.items() if k != "id"
            )


def test_a_copy_for_another_process(root: Path) -> None:
    NYUD.cache(root=str(root))
    made = NYUD("train", TASKS, root=str(root))
    made[0]
    content = pickle.dumps(made)
    assert len(content) < 20_000
    assert_same(made, pickle.loads(content))


def test_second_call_makes_nothing(root: Path) -> None:
    NYUD.cache(root=str(root))
    before = {p: p.stat().st_mtime_ns for p in (root / ".mtlbench-cache").rglob("*")}
    NYUD.cache(root=str(root))
    assert before == {p: p.stat().st_mtime_ns for p in (root / ".mtlbench-cache").rglob("*")}


def test_changed_files_are_decoded_anew(root: Path) -> None:
    NYUD.cache(root=str(root))
    old = folders(root)
    path = root / "images" / "0001.jpg"
    path.write_bytes((root / "images" / "0002.jpg").read_bytes())
    made = NYUD("train", TASKS, root=str(root))
    assert made._decoded is None
    assert torch.equal(made[0]["image"], made[1]["image"])
    NYUD.cache(root=str(root))
    assert len(folders(root)) == len(old) == 2
    assert folders(root) != old


def test_damaged_samples_are_not_used(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    NYUD.cache(root=str(root))
    for folder in (root / ".mtlbench-cache").iterdir():
        (folder / decoded.DATA).write_bytes(b"123")
    made = NYUD("val", TASKS, root=str(root))
    assert made[0]["image"].shape == (3, 45, 60)
    assert made._decoded is None
    NYUD.cache(root=str(root))
    assert NYUD("val", TASKS, root=str(root))._decoded is not None


def test_a_damaged_archive_keeps_nothing(
    root: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(decoded.log, "warning", lambda text, *values: said.append(text % values))
    path = root / "segmentation" / "0002.png"
    path.write_bytes(path.read_bytes()[:50])
    NYUD.cache(root=str(root))
    assert len(folders(root)) == 1  # of val
    assert any(str(path) in line for line in said)


def test_no_space_is_said(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(decoded.log, "warning", lambda text, *values: said.append(text % values))
    usage = decoded.shutil.disk_usage(root)._replace(free=1000)
    monkeypatch.setattr(decoded.shutil, "disk_usage", lambda path: usage)
    NYUD.cache(root=str(root))
    assert folders(root) == []
    assert len(said) == 2
    assert all("GB free" in line for line in said)


def test_the_variable_says_where(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(decoded.VARIABLE, str(tmp_path / "elsewhere"))
    NYUD.cache(root=str(root))
    assert folders(root) == []
    assert len(list((tmp_path / "elsewhere").iterdir())) == 2
    assert NYUD("train", TASKS, root=str(root))._decoded is not None
    monkeypatch.setenv(decoded.VARIABLE, "off")
    assert NYUD("train", TASKS, root=str(root))._decoded is None
    NYUD.cache(root=str(root))
    assert folders(root) == []


def test_manifest_names_what_is_kept(root: Path) -> None:
    NYUD.cache(root=str(root))
    (folder,) = (root / ".mtlbench-cache").glob("val-*")
    content = json.loads((folder / "manifest.json").read_text())
    assert list(content["samples"]) == ["0004", "0005"]
    kinds = {what: (kind, dtype) for what, kind, dtype, _, _ in content["samples"]["0004"]}
    assert kinds["image"] == ("Image", "|u1")
    assert kinds["depth"] == ("Depth", "<f4")
