import json
from pathlib import Path

import pytest
import torch
from test_spec import make_cell

from mtlbench import checkpoint
from mtlbench.errors import MtlbenchError
from mtlbench.folder import Costs, Failure, Job, Result, RunFolder, TaskRecord


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


def test_checkpoints_are_whole_or_refused(tmp_path: Path) -> None:
    file = tmp_path / "checkpoint" / "last.pt"
    assert checkpoint.load(file) is None
    checkpoint.save(file, {"step": 3, "network": {"w": torch.ones(2)}})
    checkpoint.save(file, {"step": 4, "network": {"w": torch.ones(2)}})
    state = checkpoint.load(file)
    assert state is not None
    assert state["step"] == 4
    assert [path.name for path in file.parent.iterdir()] == ["last.pt"]
    file.write_bytes(file.read_bytes()[:50])
    with pytest.raises(
        MtlbenchError, match=r"checkpoint .*last\.pt is damaged .*: delete it to start this cell anew"
    ):
        checkpoint.load(file)
