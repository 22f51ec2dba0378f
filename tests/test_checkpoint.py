"""Checkpoints that are cut off, changed or could not be written."""

import io
from pathlib import Path

import pytest
import torch
from full_disk import disk_full_after

from mtlbench import checkpoint
from mtlbench.files import is_full
from mtlbench.pickles import load_tensors


def state(step: int) -> dict[str, object]:
    return {"step": step, "network": {"w": torch.arange(5.0) + step}}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "checkpoint" / "last.pt"
    for step in (3, 4):
        checkpoint.save_progress(path, state(step))
    return path


def step(path: Path) -> object:
    loaded = checkpoint.load(path)
    if loaded is None:
        return None
    assert torch.equal(loaded["network"]["w"], torch.arange(5.0) + loaded["step"])
    return loaded["step"]


def test_the_last_one_counts(file: Path) -> None:
    assert step(file) == 4
    assert {path.name for path in file.parent.iterdir()} == {"last.pt", "previous-last.pt"}
    assert load_tensors(file)["step"] == 4, "other readers open it as it is"
    assert step(file.with_name("missing.pt")) is None


def test_a_damaged_one_is_set_aside_for_the_one_before(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    file.write_bytes(file.read_bytes()[:500])
    assert step(file) == 3
    assert "going on from the checkpoint before the last one" in caplog.text
    assert {path.name for path in file.parent.iterdir()} == {"damaged-last.pt", "previous-last.pt"}
    checkpoint.save_progress(file, state(4))
    assert step(file) == 4
    previous = file.with_name("previous-last.pt")
    for path in (file, previous):
        path.write_bytes(b"")
    assert step(file) is None, "from the start"


def test_no_flipped_bit_changes_what_is_loaded(file: Path) -> None:
    whole, found = file.read_bytes(), 0
    for position in range(0, len(whole), 3):
        file.write_bytes(
            whole[:position] + bytes([whole[position] ^ 1 << position % 8]) + whole[position + 1 :]
        )
        found += (
            step(file) == 3
        )  # which was written before; else the flip was in padding, and all is as it was
    assert found > 200


def test_what_torch_refuses_counts_as_damaged(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, **options: object) -> object:
        raise RuntimeError("invalid header")

    monkeypatch.setattr(torch, "load", refuse)
    assert checkpoint.load(file) is None
    assert {path.name for path in file.parent.iterdir()} == {"damaged-last.pt", "damaged-previous-last.pt"}


@pytest.mark.parametrize("room", [0, 100, 1000, 3000], ids=str)
def test_a_full_disk_leaves_what_was_there(file: Path, room: int, caplog: pytest.LogCaptureFixture) -> None:
    large = {"step": 5, "network": {"w": torch.zeros(1000)}}
    with disk_full_after(room):
        checkpoint.save_progress(file, large)
        with pytest.raises(OSError, match="too large") as raised:
            checkpoint.save(file.with_name("final.pt"), large)
    assert is_full(raised.value)
    assert "training goes on without a new checkpoint" in caplog.text
    assert "MiB are free" in caplog.text
    assert {path.name for path in file.parent.iterdir()} == {"last.pt", "previous-last.pt"}
    assert step(file) == 4


def test_other_errors_are_not_hidden(file: Path) -> None:
    with pytest.raises(TypeError):
        checkpoint.save_progress(file, {"step": 5, "stream": io.BytesIO().getbuffer()})
    assert step(file) == 4
    assert {path.name for path in file.parent.iterdir()} == {"last.pt", "previous-last.pt"}
