"""Scores in training, which change nothing of it, and cells that are pruned."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from cells_factory import make_cell
from conftest import TINY_PLUGINS

from mtlbench import cell as module
from mtlbench import checkpoint
from mtlbench.cell import EXIT_DONE, EXIT_FAILED, EXIT_INTERRUPTED, run_cell
from mtlbench.collect import collect
from mtlbench.folder import Failure, Job, RunFolder
from mtlbench.histories import read_history
from mtlbench.plan import Row
from mtlbench.retrying import Retries
from mtlbench.row_records import AXES
from mtlbench.spec import Cell, Choice, Execution, Recipe
from mtlbench.store import Runs
from mtlbench.tracking import _earlier

pytestmark = pytest.mark.usefixtures("undisturbed")

KINDS: list[tuple[str, str, str]] = [
    ("multi_task", "famo", "full"),
    ("multi_task", "gradnorm", "decoder"),
    ("troubled", "uncertainty", "lora"),
]
STEPS = 7


def cell_of(method: str = "troubled", balancer: str = "equal", tuning: str = "full") -> Cell:
    return make_cell("semseg", "depth").changed(
        method=Choice(name=method),
        balancer=Choice(name=balancer),
        tuning=Choice(name=tuning),
        recipe=Recipe(iterations=STEPS, batch_size=4),
    )


def job(cell: Cell, folder: Path, every: int | None = 2) -> Job:
    execution = Execution(evaluate_every=every, passes="sequential", log_every=1)
    return Job(cell=cell, folder=folder, plugins=(str(TINY_PLUGINS),), execution=execution)


def ended(folder: Path) -> dict[str, Any]:
    """What the last checkpoint holds, but what was timed."""
    state = checkpoint.load(RunFolder(folder).checkpoint)
    assert state is not None
    return {key: state[key] for key in ("step", "network", "optimizer", "balancer")}


def assert_same(first: Any, second: Any) -> None:
    """Bit for bit."""
    if isinstance(first, dict):
        assert first.keys() == second.keys()
        for key in first:
            assert_same(first[key], second[key])
    elif isinstance(first, list | tuple):
        for a, b in zip(first, second, strict=True):
            assert_same(a, b)
    elif isinstance(first, torch.Tensor):
        assert torch.equal(first, second)
    else:
        assert first == second


def interrupt_in_evaluation(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """The process is asked to stop in the middle of one of its evaluations, as is counted from 1."""
    evaluate, seen = module.evaluation.evaluate, []

    def interrupted(*args: Any, **named: Any) -> Any:
        seen.append(args)
        if len(seen) == number:
            signal.raise_signal(signal.SIGTERM)
        return evaluate(*args, **named)

    monkeypatch.setattr(module.evaluation, "evaluate", interrupted)


@pytest.mark.parametrize(("method", "balancer", "tuning"), KINDS)
def test_training_is_the_same_bit_for_bit(
    method: str, balancer: str, tuning: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batch normalisation, dropout, balancers with state, and a backbone that stays in evaluation mode."""
    cell = cell_of(method, balancer, tuning)
    without, scored, stopped = (tmp_path / name for name in ("without", "scored", "stopped"))
    assert run_cell(job(cell, without, every=None)) == EXIT_DONE
    assert run_cell(job(cell, scored)) == EXIT_DONE
    interrupt_in_evaluation(monkeypatch, 2)
    assert run_cell(job(cell, stopped)) == EXIT_INTERRUPTED
    assert ended(stopped)["step"] == 4
    assert run_cell(job(cell, stopped)) == EXIT_DONE
    results = [RunFolder(folder).result() for folder in (without, scored, stopped)]
    lines = [read_history(RunFolder(folder).evaluations) for folder in (without, scored, stopped)]
    for result, folder in zip(results, (without, scored, stopped), strict=True):
        assert result is not None
        assert results[0] is not None
        assert result.scores == results[0].scores
        assert_same(ended(folder), ended(without))
        losses = [line["losses"] for line in read_history(folder / "history.jsonl")]
        assert losses == [line["losses"] for line in read_history(without / "history.jsonl")]
    assert lines[0] == []
    assert lines[1] == lines[2]
    assert [line["step"] for line in lines[1]] == [2, 4, 6, 7]
    assert results[1] is not None
    assert lines[1][-1]["scores"]["depth"] == results[1].scores["depth"][results[1].tasks["depth"].metric]
    assert lines[1][0]["scores"] != lines[1][-1]["scores"]


def test_time_of_scores_is_no_training_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mtlbench.training.time.monotonic", clock := Clock())
    evaluate = module.evaluation.evaluate

    def slow(*args: Any, **named: Any) -> Any:
        clock.now += 1000
        return evaluate(*args, **named)

    monkeypatch.setattr(module.evaluation, "evaluate", slow)
    assert run_cell(job(cell_of(), tmp_path)) == EXIT_DONE
    result = RunFolder(tmp_path).result()
    assert result is not None
    assert 0 < result.costs.train_seconds < 1000


class Clock:
    """A second passes whenever somebody looks."""

    now = 0.0

    def __call__(self) -> float:
        self.now += 0.01
        return self.now


def test_lines_are_replaced_and_cut(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    for step in (10, 20, 30, 20):
        folder.note_evaluation(step, {"depth": step / 10})
    assert [line["step"] for line in read_history(folder.evaluations)] == [10, 20]
    folder.cut_history(15)
    assert folder.last_evaluation() == {"step": 10, "scores": {"depth": 1.0}}


def test_trackers_start_with_scores_too(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    for step in (1, 2, 3):
        folder.note({"step": step, "lr": 0.5})
    folder.note_evaluation(2, {"depth": 0.25})
    expected = [(1, {"lr": 0.5}), (2, {"lr": 0.5}), (2, {"scores/depth": 0.25}), (3, {"lr": 0.5})]
    assert _earlier(folder) == expected


def test_a_pruned_cell_ends_and_goes_on_when_it_is_forgiven(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by somebody who looks at its scores."""
    noted = RunFolder.note_evaluation

    def bad(self: RunFolder, step: int, scores: dict[str, float]) -> None:
        noted(self, step, scores)
        if step == 4:
            RunFolder(self.path).ask_to_prune()

    monkeypatch.setattr(RunFolder, "note_evaluation", bad)
    cell, folder = cell_of(), RunFolder(tmp_path / "cell")
    assert run_cell(job(cell, folder.path)) == EXIT_FAILED
    failure = folder.failure()
    assert failure is not None
    assert (failure.kind, failure.message) == ("pruned", f"after 4 of {STEPS} steps")
    assert folder.state() == "pruned"
    assert Retries(Execution()).again(cell, failure, folder) is None
    assert run_cell(job(cell, folder.path)) == EXIT_FAILED, "the wish stays until it is forgiven"
    assert ended(folder.path)["step"] == 5
    folder.forgive()
    assert folder.state() == "interrupted"
    monkeypatch.undo()
    assert run_cell(job(cell, folder.path)) == EXIT_DONE
    assert [line["step"] for line in read_history(folder.evaluations)] == [2, 4, 6, 7]


def test_a_pruned_cell_has_not_failed(tmp_path: Path) -> None:
    runs, cells = Runs(tmp_path), [make_cell(seed=seed) for seed in range(3)]
    row = Row("candidate", dict.fromkeys(AXES, "x"), ("depth",), (("depth",),), {c.seed: [c] for c in cells})
    runs.save_grid("tiny", [row.record()])
    for cell, kind in zip(cells, ("pruned", "error", None), strict=True):
        runs.folder(cell).create(Job(cell=cell, folder=runs.folder(cell).path))
        if kind is not None:
            runs.folder(cell).fail(Failure(kind=kind, message="x"))  # type: ignore[arg-type]
    ids = [cell.id for cell in cells]
    assert [summary.state for summary in runs.summaries(ids).values()] == ["pruned", "failed", "new"]
    results = collect(runs, "tiny")
    assert list(results.failures["cell"]) == [cells[1].id]
    assert list(results.rows["state"]) == ["1 of 3 cells failed; 1 of 3 cells pruned"]


def test_scores_as_a_frame(tmp_path: Path) -> None:
    runs, cell = Runs(tmp_path), make_cell("depth", "semseg", seed=3)
    row = Row("candidate", dict.fromkeys(AXES, "x"), cell.tasks, (cell.tasks,), {3: [cell]})
    runs.save_grid("tiny", [row.record()])
    folder = runs.folder(cell)
    folder.create(Job(cell=cell, folder=folder.path))
    for step in (10, 20):
        folder.note_evaluation(step, {"depth": step / 10, "semseg": 0.5})
    with folder.evaluations.open("a") as file:
        file.write('{"step": 30, "sco')
    found = collect(runs, "tiny").validation
    expected = [[0, 3, "depth", 10, 1.0], [0, 3, "semseg", 10, 0.5]]
    assert found.to_numpy().tolist()[:2] == expected
    assert len(found) == 4
    assert json.loads(folder.evaluations.read_text().splitlines()[0])["scores"]["depth"] == 1.0
