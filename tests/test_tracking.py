"""Trackers: every line of the history once, whatever happens to the cell, and no cell that fails by them."""

import json
import logging
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cells_factory import make_cell, make_result
from grid_runs import TIMEOUT, GridRuns

from mtlbench import tracking
from mtlbench.errors import MissingExtra
from mtlbench.folder import Job, RunFolder
from mtlbench.plan import Row
from mtlbench.store import Runs
from mtlbench.tracking import Trackers, check, values_of

CELL = make_cell()
READ_EVENTS = """
import json, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
found = EventAccumulator(sys.argv[1], size_guidance={"scalars": 0})
found.Reload()
tags = found.Tags()["scalars"]
json.dump({tag: [[e.step, e.value] for e in found.Scalars(tag)] for tag in tags}, sys.stdout)
"""


def line(step: int) -> dict[str, Any]:
    return {
        "step": step,
        "iterations": 40,
        "lr": 0.25,
        "losses": {"depth": step / 2, "edge": 1.0},
        "weights": {},
        "cosines": [["depth", "edge", -0.5]],
        "condition": None,
        "failures": 0,
    }


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    runs = Runs(tmp_path / "runs")
    runs.save_grid("tiny", [Row("candidate", {}, ("depth",), cells={0: [CELL]}).record()])
    folder = runs.folder(CELL)
    folder.create(Job(cell=CELL, folder=folder.path))
    return folder


def noted(folder: RunFolder, trackers: Trackers, *steps: int) -> None:
    for step in steps:
        folder.note(line(step))
        trackers.log(line(step))


def curves(folder: RunFolder) -> dict[str, list[list[float]]]:
    """What TensorBoard itself reads, by tag."""
    command = [sys.executable, "-c", READ_EVENTS, str(folder.path / "tensorboard")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=TIMEOUT)
    found: dict[str, list[list[float]]] = json.loads(done.stdout)
    return found


def test_numbers_have_the_names_of_their_places() -> None:
    assert values_of(line(4)) == {
        "lr": 0.25,
        "losses/depth": 2.0,
        "losses/edge": 1.0,
        "cosines/depth-edge": -0.5,
        "failures": 0.0,
    }


def test_tensorboard_shows_each_line_once_after_a_crash(folder: RunFolder) -> None:
    """Lines after the last checkpoint come again; one that was cut off while it was written is no harm."""
    first = Trackers(["tensorboard"], CELL, folder)
    noted(folder, first, 10, 20, 30)
    first.finish()
    (events,) = (folder.path / "tensorboard").iterdir()
    with events.open("ab") as file:
        file.write(b"\x18\0\0\0")
    folder.cut_history(20)
    second = Trackers(["tensorboard"], CELL, folder)
    noted(folder, second, 30, 40)
    result = make_result(CELL, score=0.75)
    second.finish(result)
    found = curves(folder)
    assert found["losses/depth"] == [[10, 5], [20, 10], [30, 15], [40, 20]]
    assert found["cosines/depth-edge"][-1] == [40, -0.5]
    assert found["scores/depth/depth.rmse.pixels"] == [[40, 0.75]]
    assert found["costs/train_seconds"] == [[40, 1.0]]


def test_a_cell_that_was_not_tracked_at_first(folder: RunFolder) -> None:
    noted(folder, Trackers(), 10, 20)
    trackers = Trackers(["tensorboard"], CELL, folder)
    trackers.finish()
    assert curves(folder)["losses/depth"] == [[10, 5], [20, 10]]


class Broken:
    """Fails at its first line, or already before."""

    def __init__(self) -> None:
        self.calls = 0

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self.calls += 1
        raise ConnectionError("the server is gone")

    def finish(self, scores: Mapping[str, float]) -> None:
        raise AssertionError("not asked any more")


def test_a_tracker_that_fails_is_named_once(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broken = Broken()
    module = SimpleNamespace(start=lambda cell, folder, earlier: broken)
    monkeypatch.setitem(sys.modules, "mtlbench.tracking_wandb", module)
    trackers = Trackers(["wandb", "tensorboard"], CELL, folder)
    with caplog.at_level(logging.WARNING, logger="mtlbench"):
        noted(folder, trackers, 10, 20)
        trackers.finish(make_result(CELL))
    assert broken.calls == 1
    assert [r.message for r in caplog.records] == [
        "wandb no longer tracks this cell: ConnectionError: the server is gone"
    ]
    assert len(curves(folder)["losses/depth"]) == 2


def test_a_tracker_that_can_not_start(folder: RunFolder, caplog: pytest.LogCaptureFixture) -> None:
    (folder.path / "tensorboard").write_text("in the way")
    with caplog.at_level(logging.WARNING, logger="mtlbench"):
        noted(folder, Trackers(["tensorboard"], CELL, folder), 10)
    assert "tensorboard no longer tracks this cell: FileExistsError" in caplog.text


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A folder that happens to have the name is no package."""
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.setattr(sys, "modules", {k: v for k, v in sys.modules.items() if k.split(".")[0] != "wandb"})
    (tmp_path / "wandb").mkdir()
    with pytest.raises(MissingExtra, match=r"track: \[wandb\].*pip install 'mtlbench\[track\]'"):
        check(["wandb"])


def test_all_trackers_are_known() -> None:
    from mtlbench.spec import Execution

    assert Execution(track=tuple(tracking.MODULES)).track == tuple(tracking.MODULES)  # type: ignore[arg-type]


WANDB_CELL = """
import os, sys
from pathlib import Path
from cells_factory import make_result
from mtlbench.folder import RunFolder, read_job
from mtlbench.tracking import Trackers
folder = RunFolder(Path(sys.argv[1]))
cell = read_job(folder.job).cell
trackers = Trackers(["wandb"], cell, folder)
for step in map(int, sys.argv[3:]):
    line = {"step": step, "losses": {"depth": step / 2}}
    folder.note(line)
    trackers.log(line)
if sys.argv[2] == "crash":
    os._exit(0)
trackers.finish(make_result(cell, score=0.75))
"""

READ_WANDB = """
import json, struct, sys
from pathlib import Path
from wandb.proto import wandb_internal_pb2 as pb
def records(data):  # LevelDB's log format: blocks of 32 KiB, records may be cut at their ends
    place, whole = 7, b""
    while place + 7 <= len(data):
        left = 2**15 - place % 2**15
        if left < 7:
            place += left
            continue
        _, length, kind = struct.unpack("<IHB", data[place:place + 7])
        whole += data[place + 7:place + 7 + length]
        place += 7 + length
        if kind in (1, 4):
            yield whole
            whole = b""
found = {"history": [], "summary": {}}
for data in records(Path(sys.argv[1]).read_bytes()):
    record = pb.Record()
    record.ParseFromString(data)
    kind = record.WhichOneof("record_type")
    if kind == "run":
        found["run"] = [record.run.run_id, record.run.run_group, record.run.project]
        found["config"] = [item.key for item in record.run.config.update]
    elif kind == "history":
        items = {(i.key or "/".join(i.nested_key)): json.loads(i.value_json) for i in record.history.item}
        found["history"].append([items["_step"], items.get("losses/depth")])
    elif kind == "summary":
        for i in record.summary.update:
            found["summary"][i.key or "/".join(i.nested_key)] = json.loads(i.value_json)
json.dump(found, sys.stdout)
"""


def test_wandb_offline(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """For real: what its own reader finds in the run folder."""
    pytest.importorskip("wandb")
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    _python(WANDB_CELL, folder.path, "crash", "10", "20")
    folder.cut_history(10)
    outcome = _python(WANDB_CELL, folder.path, "finish", "20", "30")
    assert "no longer tracks" not in outcome.stderr
    (log,) = (folder.path / "wandb").glob("offline-run-*/*.wandb")
    found = json.loads(_python(READ_WANDB, log).stdout)
    assert found["run"] == [CELL.id, "tiny", "mtlbench"]
    assert {"dataset", "recipe", "seed"} <= set(found["config"])
    assert [entry for entry in found["history"] if entry[1] is not None] == [[10, 5], [20, 10], [30, 15]]
    assert found["summary"]["scores/depth/depth.rmse.pixels"] == 0.75


def _python(code: str, *arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert done.returncode == 0, done.stderr
    return done


def test_a_grid_that_is_killed_and_goes_on(tmp_path: Path) -> None:
    grid = GridRuns(tmp_path)
    execution = {"checkpoint_seconds": 0.3, "log_every": 1, "gallery": 0, "track": ["tensorboard"]}
    recipe = {"iterations": 40, "batch_size": 4}
    method = {"name": "troubled", "trouble": "slow"}
    grid.write(tasks=["depth"], method=method, recipe=recipe, execution=execution)
    driver = grid.start()
    grid.wait_for_steps(10, driver)
    driver.send_signal(signal.SIGINT)
    driver.communicate(timeout=TIMEOUT)
    done = grid.run()
    assert done.returncode == 0, done.stdout + done.stderr
    (place,) = grid.cells()
    found = curves(RunFolder(place))
    assert [step for step, _ in found["losses/depth"]] == list(range(1, 41))
    assert len(found["scores/depth/depth.rmse.pixels"]) == 1
