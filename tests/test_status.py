"""`mtlbench status`: what it shows of cells in every state, once and for as long as a grid runs."""

import io
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from cells_factory import make_cell, make_result
from grid_runs import TIMEOUT, GridRuns
from rich.console import Console

from mtlbench import watching
from mtlbench.errors import MtlbenchError
from mtlbench.folder import Failure, Job
from mtlbench.plan import Row
from mtlbench.spec import Cell
from mtlbench.status_command import status
from mtlbench.store import Runs
from mtlbench.watching import Watcher

DONE, RUNNING, INTERRUPTED, WAITING, FAILED = (make_cell(seed=seed) for seed in range(5))
BASES = {cell.seed: cell for cell in (DONE, RUNNING, INTERRUPTED, WAITING, FAILED)}
BLOCKED = make_cell("depth", "edge", seed=4, start=FAILED)
AFTER_BLOCKED = make_cell("depth", "edge", "semseg", seed=4, start=BLOCKED)


def save(runs: Runs, cells: dict[int, list[Cell]], name: str = "tiny") -> None:
    runs.save_grid(name, [Row("candidate", {}, ("depth",), cells=cells).record()])


def begin(runs: Runs, cell: Cell) -> None:
    runs.folder(cell).create(Job(cell=cell, folder=runs.folder(cell).path))


def note(runs: Runs, cell: Cell, step: int, seconds: float) -> None:
    line = {"step": step, "iterations": 40000, "seconds": seconds, "images_per_second": 8 * step / seconds}
    runs.folder(cell).note({**line, "losses": {"depth": 0.5, "semseg": 1.25}})


def finish(runs: Runs, cell: Cell, *, seconds: float = 40000.0) -> None:
    begin(runs, cell)
    result = make_result(cell)
    runs.folder(cell).finish(
        result.model_copy(update={"costs": result.costs.model_copy(update={"train_seconds": seconds})})
    )


def fail(runs: Runs, cell: Cell, message: str = "told to fail") -> None:
    begin(runs, cell)
    runs.folder(cell).fail(Failure(kind="error", message=message))


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[Runs]:
    """One cell in every state; two that can't start because the base of one has failed."""
    runs = Runs(tmp_path / "runs")
    save(runs, {seed: [base] for seed, base in BASES.items()})
    finish(runs, DONE)
    fail(runs, FAILED)
    begin(runs, INTERRUPTED)
    note(runs, INTERRUPTED, 10000, 10000)
    runs.folder(INTERRUPTED).checkpoint.parent.mkdir()
    runs.folder(INTERRUPTED).checkpoint.touch()
    begin(runs, RUNNING)
    note(runs, RUNNING, 30000, 30000)
    runs.folder(RUNNING).show_life()
    with ExitStack() as held:
        assert held.enter_context(runs.folder(RUNNING).lock())
        yield runs


def shown(runs: Runs, *, width: int = 150, **options: Any) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    status(runs, console, **options)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_every_state_once(runs: Runs) -> None:
    text = shown(runs)
    assert "tiny: 1 done, 1 running, 1 waiting, 1 interrupted, 1 failed" in text
    assert f"failed {FAILED.id}: error: told to fail" in text
    line = next(line for line in text.splitlines() if line.startswith(RUNNING.id))
    for fact in (
        "30000/40000",
        "8.0 img/s",
        "2 h 46 min left",
        os.uname().nodename,
        "depth 0.5",
        "semseg 1.25",
    ):
        assert fact in line
    assert re.search(r"seen \w+ \d\d:\d\d:\d\d", line)


def test_blocked_cells_with_the_reason(runs: Runs) -> None:
    save(runs, {4: [AFTER_BLOCKED]}, "stages")
    text = shown(runs, grid="stages")
    assert "stages: 1 failed, 2 blocked" in text, "bases belong to the grid"
    assert f"blocked {BLOCKED.id}: starts from {FAILED.id}: failed: error: told to fail" in text
    assert f"blocked {AFTER_BLOCKED.id}: starts from {BLOCKED.id}: blocked: starts from" in text
    assert "tiny: " not in text


def test_pruned_cells_have_ended_and_not_failed(runs: Runs) -> None:
    runs.folder(FAILED).forgive()
    runs.folder(FAILED).fail(Failure(kind="pruned", message="after 5 of 10 steps"))
    (look,) = Watcher(runs).look()
    assert look.states[FAILED.id] == "pruned"
    assert look.reasons[FAILED.id] == "pruned: after 5 of 10 steps"
    assert look.failed == []
    assert look.count()["pruned"] == 1


def test_a_grid_of_names_alone(runs: Runs) -> None:
    """Files of older versions say no more; jobs tell the rest."""
    record = Row("candidate", {}, ("depth",), cells={4: [BLOCKED]}).record()
    del record["specs"]
    runs.save_grid("stages", [record, {**record, "cells": {"4": [FAILED.id]}}])
    begin(runs, BLOCKED)
    assert f"blocked {BLOCKED.id}: starts from {FAILED.id}" in shown(runs, grid="stages")


def test_the_time_that_is_left(runs: Runs) -> None:
    """A step takes a second: a quarter of a cell, three quarters, and a whole one, one after the other."""
    (look,) = Watcher(runs).look()
    assert look.left is not None
    evaluation = 1.0
    assert look.left.work == pytest.approx(10000 + 30000 + 40000 + 3 * evaluation)
    assert look.left.wall == pytest.approx(look.left.work), "one at a time was seen"
    assert "about 22 h 13 min left" in shown(runs)


def test_cells_run_side_by_side_but_after_their_bases(tmp_path: Path) -> None:
    runs = Runs(tmp_path / "runs")
    bases = [make_cell(seed=seed) for seed in range(4)]
    child = make_cell("depth", "edge", start=bases[0])
    rows = [{0: [child]}, {base.seed: [base] for base in bases[1:]}]
    runs.save_grid("tiny", [Row("candidate", {}, ("depth",), cells=cells).record() for cells in rows])
    with ExitStack() as held:
        for base in bases:
            begin(runs, base)
            note(runs, base, 30000, 30000)
            held.enter_context(runs.folder(base).lock())
        (look,) = Watcher(runs).look()
    assert look.left is not None
    assert look.left.work == pytest.approx(4 * 10000 + 40000)
    assert look.left.wall == pytest.approx(10000 + 40000), "the child waits for its base"


def test_lengths_in_epochs_come_from_what_ran(tmp_path: Path) -> None:
    runs = Runs(tmp_path / "runs")
    cells = []
    for seed in (0, 1):
        cell = make_cell(seed=seed)
        cells.append(cell.changed(recipe=cell.recipe.changed(epochs=7)))
    save(runs, {cell.seed: [cell] for cell in cells})
    begin(runs, cells[0])
    with runs.folder(cells[0]).lock():
        assert Watcher(runs).look()[0].left is None
        note(runs, cells[0], 10000, 5000)
        (look,) = Watcher(runs).look()
    assert look.running[0].steps == 40000
    assert look.left is not None
    assert look.left.work == pytest.approx(15000 + 20000)


@pytest.mark.parametrize("width", [60, 80, 150])
def test_fits_the_width(runs: Runs, width: int) -> None:
    """What is shown of running cells; whoever reads it wraps the rest."""
    lines = [
        line for line in shown(runs, width=width).splitlines() if not line.startswith(("failed", "tiny:"))
    ]
    assert len(lines) == (2 if width > 100 else 3)
    for line in lines:
        assert len(line) <= width


def test_nothing_is_written_where_nothing_was_indexed(runs: Runs) -> None:
    before = everything(runs.root)
    shown(runs)
    assert everything(runs.root) == before


def test_nothing_is_written_beside_an_index(runs: Runs) -> None:
    runs.refresh()
    before = everything(runs.root)
    assert "1 done" in shown(Runs(runs.root))
    assert everything(runs.root) == before


def everything(root: Path) -> dict[str, tuple[int, int]]:
    return {str(p): (p.stat().st_mtime_ns, p.stat().st_size) for p in root.rglob("*")}


def test_a_folder_that_may_not_be_written_to(runs: Runs) -> None:
    """And an index that is not readable: the folders tell the same."""
    runs.refresh()
    (runs.root / "index.db").write_bytes(b"nonsense" * 1000)
    assert "1 done, 1 running" in shown(Runs(runs.root))
    assert (runs.root / "index.db").read_bytes() == b"nonsense" * 1000


def test_unknown_grids_and_folders(runs: Runs, tmp_path: Path) -> None:
    with pytest.raises(MtlbenchError, match="tiny"):
        shown(runs, grid="tinny")
    with pytest.raises(MtlbenchError, match="no runs in"):
        shown(Runs(tmp_path / "elsewhere"))


def test_a_second_look_opens_only_what_may_have_changed(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    watcher = Watcher(runs)
    watcher.look()
    watcher.look()
    looked: list[list[str]] = []
    survey = watching.survey

    def watched(place: Path, ids: Any, records: Any) -> Any:
        looked.append(list(ids))
        return survey(place, ids, records)

    monkeypatch.setattr(watching, "survey", watched)
    watcher.look()
    assert looked == [[RUNNING.id]]
    begin(runs, FAILED)
    runs.folder(FAILED).forgive()
    finish(runs, WAITING)
    with runs.folder(INTERRUPTED).lock():
        states = watcher.look()[0].states
    assert set(looked[1]) == {RUNNING.id, FAILED.id, WAITING.id, INTERRUPTED.id}
    changed = {FAILED.id: "new", WAITING.id: "done", INTERRUPTED.id: "running"}
    assert {name: states[name] for name in changed} == changed


def test_a_result_that_is_put_aside_is_noticed(runs: Runs) -> None:
    watcher = Watcher(runs)
    assert watcher.look()[0].states[DONE.id] == "done"
    runs.supersede(DONE.id)
    assert watcher.look()[0].states[DONE.id] == "new"
    begin(runs, DONE)
    fail(runs, DONE)
    assert watcher.look()[0].states[DONE.id] == "failed"


def test_silence_is_timed_by_what_changes(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the clock of the machine that touches the file says."""
    clock = [1000.0]
    monkeypatch.setattr(watching.time, "monotonic", lambda: clock[0])
    watcher = Watcher(runs)
    assert watcher.look()[0].running[0].silent == 0
    clock[0] += 60
    assert watcher.look()[0].running[0].silent == 60
    os.utime(runs.folder(RUNNING).alive, (1.0, 1.0))
    assert watcher.look()[0].running[0].silent == 0


def test_watching_ends_by_itself(runs: Runs) -> None:
    """With a line for each change where there is no terminal."""
    runs.supersede(INTERRUPTED.id)
    save(runs, {cell.seed: [cell] for cell in (DONE, WAITING, FAILED)})
    watched = _Thread(lambda: shown(runs, watch=True, interval=0.05))
    time.sleep(0.3)
    finish(runs, WAITING)
    lines = watched.result().splitlines()
    assert lines[0].startswith("tiny: 1 done, 1 waiting, 1 failed")
    assert lines[1].split() == ["done", WAITING.id]
    assert lines[2:] == ["tiny: 2 done, 1 failed"]


class _Thread:
    """A call in the background."""

    def __init__(self, work: Callable[[], str]) -> None:
        self._found: list[str] = []
        self._thread = threading.Thread(target=lambda: self._found.append(work()), daemon=True)
        self._thread.start()

    def result(self) -> str:
        self._thread.join(TIMEOUT)
        assert self._found, "it did not end"
        return self._found[0]


def test_watching_ends_on_interrupt(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", interrupt)
    assert "1 running" in shown(runs, watch=True)


def test_a_terminal_is_drawn_over(runs: Runs) -> None:
    save(runs, {seed: [BASES[seed]] for seed in (0, 4)})
    console = Console(file=io.StringIO(), width=80, height=24, force_terminal=True)
    status(runs, console, watch=True, interval=0.01)
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert "\x1b[1A" in text, "the cursor goes up"
    assert "told to fail" in text


def test_no_torch() -> None:
    code = "import sys, mtlbench.status_command; sys.exit('torch' in sys.modules or 'pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_watching_a_grid_that_runs(tmp_path: Path) -> None:
    """From another process, until the driver has done all."""
    grid = GridRuns(tmp_path)
    grid.write(
        tasks=["depth"],
        method={"name": "troubled", "trouble": "slow"},
        recipe={"iterations": 60, "batch_size": 4},
    )
    driver = grid.start()
    grid.wait_for_steps(2, driver)
    watch = grid.mtlbench("status", "runs", "--watch", "--interval", "0.2", "--grid", "tiny")
    output, _ = driver.communicate(timeout=TIMEOUT)
    assert driver.returncode == 0, output
    assert watch.returncode == 0, watch.stderr
    (cell,) = grid.results()
    lines = watch.stdout.splitlines()
    assert lines[0].startswith("tiny: 1 running; about")
    assert [line.split() for line in lines[1:-1]] == [["done", cell]]
    assert lines[-1] == "tiny: 1 done"
    history = (grid.runs / "cells" / cell / "history.jsonl").read_text().splitlines()
    assert {json.loads(line)["iterations"] for line in history} == {60}
