import errno
import fcntl
import json
import threading
from pathlib import Path

import pytest
from full_disk import disk_full_after
from test_spec import make_cell

from mtlbench import checkpoint
from mtlbench.errors import MtlbenchError
from mtlbench.files import full_disk, is_full
from mtlbench.folder import Costs, Failure, Job, Result, RunFolder, TaskRecord, read_result


def make_result() -> Result:
    return Result(
        cell=make_cell(),
        tasks={
            "depth": TaskRecord(metric="depth.rmse.pixels", heading="rmse", higher_is_better=False, scale=1)
        },
        scores={"depth": {"depth.rmse.pixels": 0.5}},
        images={"train": 1, "val": 1},
        costs=Costs(
            parameters=1,
            trainable=1,
            macs=1,
            input_size=(2, 3),
            train_seconds=1,
            images_per_second=1,
            evaluate_seconds=1,
            peak_memory_mb=1,
        ),
        fingerprints={},
        provenance={},
    )


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    made = RunFolder(tmp_path / "cell")
    made.create(Job(cell=make_cell(), folder=made.path))
    return made


def test_states(folder: RunFolder) -> None:
    assert folder.state() == "new"
    checkpoint.save(folder.checkpoint, {"step": 1})
    assert folder.state() == "interrupted"
    folder.fail(Failure(kind="error", message="x"))
    assert folder.state() == "failed"
    folder.forgive()
    assert folder.state() == "interrupted"
    folder.fail(Failure(kind="error", message="x"))
    folder.finish(make_result())
    assert folder.state() == "done"
    assert folder.failure() is None
    assert folder.result() == make_result()


def test_half_a_result_is_no_result(folder: RunFolder) -> None:
    folder.finish(make_result())
    file = folder.path / "result.json"
    file.write_text(file.read_text()[:100])
    assert folder.result() is None
    assert folder.state() == "new"


def test_nan_scores_survive_the_file(folder: RunFolder) -> None:
    result = make_result()
    result.scores["depth"]["depth.rmse.pixels"] = float("nan")
    folder.finish(result)
    again = folder.result()
    assert again is not None
    value = again.scores["depth"]["depth.rmse.pixels"]
    assert value != value


def test_one_process_at_a_time(folder: RunFolder) -> None:
    with folder.lock() as free:
        assert free
        assert folder.state() == "running"
        with RunFolder(folder.path).lock() as second:
            assert not second
    assert folder.state() == "new"


def test_the_last_whole_line_of_history(folder: RunFolder) -> None:
    assert folder.last_line() is None
    lines = [json.dumps({"step": i, "pad": "x" * 3000}) for i in range(5)]
    folder.history.write_text("\n".join(lines) + '\n{"step": 5, "pa')
    line = folder.last_line()
    assert line is not None
    assert line["step"] == 4


def test_a_lock_is_waited_for(folder: RunFolder) -> None:
    let_go = threading.Event()

    def hold() -> None:
        with RunFolder(folder.path).lock():
            held.set()
            let_go.wait(60)

    held = threading.Event()
    other = threading.Thread(target=hold)
    other.start()
    assert held.wait(60)
    with folder.lock(wait=0.2) as free:
        assert not free
    threading.Timer(0.3, let_go.set).start()
    with folder.lock(wait=60) as free:
        assert free
    other.join()


def test_looking_at_a_cell_twice_at_once_locks_nothing(folder: RunFolder) -> None:
    with (folder.path / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_SH)  # what another process does that just looks
        assert not folder.locked()


def test_every_flipped_bit_and_every_cut_of_a_result_is_found(folder: RunFolder) -> None:
    folder.finish(make_result())
    file = folder.path / "result.json"
    whole = file.read_bytes()
    for position in range(len(whole)):
        bit = 1 << position % 8
        assert read_result(whole[:position]) is None
        flipped = whole[:position] + bytes([whole[position] ^ bit]) + whole[position + 1 :]
        found = read_result(flipped)
        in_checksum_key = b'"checksum"' in whole[position - 12 : position + 12] and found == make_result()
        assert found is None or in_checksum_key, (position, flipped)
    assert read_result(whole) == make_result()


def test_results_of_older_versions_have_no_checksum(folder: RunFolder) -> None:
    old = make_result().model_dump_json(indent=1, exclude={"findings", "balancing"})
    assert read_result(old.encode()) == make_result()
    changed = json.loads(old) | {"chekcsum": "0" * 64}
    assert read_result(json.dumps(changed).encode()) is None


def test_a_cell_starts_tidily(folder: RunFolder, caplog: pytest.LogCaptureFixture) -> None:
    folder.finish(make_result())
    folder.fail(Failure(kind="error", message="x"))
    result, failure = folder.path / "result.json", folder.path / "failure.json"
    for file in (result, failure, folder.path / "checkpoint" / "result.json"):
        file.write_bytes(file.read_bytes()[:-1])
    left = [folder.checkpoint.with_name(".last.pt.123"), folder.path / ".result.json.99"]
    for file in left:
        file.write_text("half of")
    folder.tidy()
    assert folder.state() == "new"
    found = {path.name for path in folder.path.iterdir()}
    assert found == {"cell.yaml", "job.json", "checkpoint", "damaged-result.json", "damaged-failure.json"}
    assert not any(file.exists() for file in left)
    assert "result.json is damaged: set aside as damaged-result.json" in caplog.text


@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_result_comes_back_from_its_copy(folder: RunFolder, damage: str) -> None:
    folder.finish(make_result())
    file = folder.path / "result.json"
    written = file.read_bytes()
    if damage == "cut":
        file.write_bytes(written[:100])
    else:
        file.unlink()
    assert folder.state() != "done"
    folder.tidy()
    assert folder.result() == make_result()
    assert file.read_bytes() == written


def test_damaged_lines_of_history_are_dropped(folder: RunFolder) -> None:
    for step in (1, 2, 3):
        folder.note({"step": step})
    with folder.history.open("ab") as file:
        file.write(b'\x00\xff{"step"\n[1]\n{"step": "2"}\n{"step": 2, "los')
    line = folder.last_line()
    assert line is not None
    assert line["step"] == 3
    folder.cut_history(2)
    folder.note({"step": 3})
    assert [json.loads(text)["step"] for text in folder.history.read_text().splitlines()] == [1, 2, 3]


def test_a_full_disk_costs_nothing_that_was_there(
    folder: RunFolder, caplog: pytest.LogCaptureFixture
) -> None:
    folder.finish(make_result())
    folder.note({"step": 1, "text": "x" * 100})
    before = {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}
    with disk_full_after(150):
        with pytest.raises(OSError, match="too large") as raised:
            folder.finish(make_result())
        folder.note({"step": 2, "text": "x" * 100})
        folder.fail(Failure(kind="error", message="of another kind", details="x" * 200))
    assert is_full(raised.value)
    assert "the cell failed: error: of another kind" in caplog.text
    assert before == {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}
    folder.note({"step": 3})
    steps = [json.loads(line)["step"] for line in folder.history.read_text().splitlines()]
    assert steps == [1, 2, 3], "what had no room comes later"


def test_the_message_about_a_full_disk(tmp_path: Path) -> None:
    assert "MiB are free" in full_disk(tmp_path)
    assert "make room" in full_disk(tmp_path / "missing")
    error = MtlbenchError("can't cache")
    error.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    assert is_full(error)
    assert not is_full(OSError(errno.EIO, "Input/output error"))
