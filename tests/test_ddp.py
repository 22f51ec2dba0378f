"""Cells that use several devices, here CPU processes, compute what one process computes."""

import json
import os
import socket
import subprocess
import sys
from math import isfinite
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import TINY_PLUGINS
from grid_runs import GridRuns
from trainings import every_kind, make_rooms, parameters

from mtlbench.histories import read_history
from mtlbench.registry import Registry

BALANCERS = ["uncertainty", "pcgrad"]
CONTENT: dict[str, Any] = {
    "backbone": {"name": "tiny", "dropout": 0.0},
    "balancer": BALANCERS,
    "recipe": {"iterations": 5, "batch_size": 4, "lr": 0.05, "clip": 1.0},
}
EXECUTION: dict[str, Any] = {"log_every": 1, "gallery": 1, "threads": 1}


@pytest.fixture(autouse=True)
def local_addresses_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")


def run(folder: Path, devices: int, code: int = 0, **changes: Any) -> GridRuns:
    folder.mkdir()
    grid = GridRuns(folder)
    grid.write(**{**CONTENT, "execution": {**EXECUTION, "devices": devices}, **changes})
    done = grid.mtlbench("run", "grid.yaml", "--jobs", "1")
    logs = "".join(file.read_text() for file in grid.runs.rglob("log.txt"))
    assert done.returncode == code, done.stdout + done.stderr + logs
    return grid


def flat(scores: dict[str, dict[str, float]]) -> dict[str, float]:
    return {f"{task} {name}": value for task, found in scores.items() for name, value in found.items()}


def by_balancer(grid: GridRuns) -> dict[str, dict[str, float]]:
    return {r["cell"]["balancer"]["name"]: flat(r["scores"]) for r in grid.results().values()}


@pytest.mark.slow
def test_two_processes_give_the_scores_of_one(tmp_path: Path) -> None:
    dataset = {"name": "tiny", "images": 11}  # of which the second process evaluates one less
    one = by_balancer(run(tmp_path / "one", 1, dataset=dataset))
    scored = run(
        tmp_path / "two", 2, dataset=dataset, execution={**EXECUTION, "devices": 2, "evaluate_every": 2}
    )
    two = by_balancer(scored)
    assert one.keys() == two.keys() == set(BALANCERS)
    for balancer, scores in one.items():
        assert two[balancer] == pytest.approx(scores, abs=1e-5), balancer
    assert len({tuple(scores.values()) for scores in one.values()}) == len(BALANCERS), "balancers do nothing"
    for name, result in scored.results().items():
        lines = read_history(scored.runs / "cells" / name / "evaluations.jsonl")
        assert [line["step"] for line in lines] == [2, 4, 5], "each once"
        primary = {task: result["scores"][task][r["metric"]] for task, r in result["tasks"].items()}
        assert lines[-1]["scores"] == primary


@pytest.mark.slow
def test_a_label_that_one_process_lacks_and_a_loss_that_is_not_finite(tmp_path: Path) -> None:
    """One image a process: in the first cell one, both or none have depth; the second cell diverges."""
    grid = run(
        tmp_path / "two",
        2,
        code=1,
        dataset={"name": "tiny", "unlabelled": "depth"},
        method=["troubled", {"name": "troubled", "trouble": "nan"}],
        balancer="equal",
        recipe={"iterations": 8, "batch_size": 2},
    )
    (result,) = grid.results().values()
    assert all(isfinite(value) for value in flat(result["scores"]).values())
    history = next(
        path for path in grid.runs.rglob("history.jsonl") if "result.json" in os.listdir(path.parent)
    )
    seen = {"depth" in json.loads(line)["losses"] for line in history.read_text().splitlines()}
    assert seen == {True, False}
    (failure,) = grid.failures().values()
    assert failure["kind"] == "diverged"
    assert "became nan in step 3" in failure["message"]


@pytest.mark.slow
def test_two_processes_train_every_kind_of_balancer_as_one_does(
    tmp_path: Path, tiny_registry: Registry
) -> None:
    """Each process has two of the four images of a batch, some of which lack depth. So do tuned networks."""
    rooms = make_rooms(tmp_path / "rooms")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    folder = Path(__file__).parent
    environment = os.environ | {"MASTER_PORT": port, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(folder)}
    command = [
        sys.executable,
        str(folder / "ddp_worker.py"),
        str(tmp_path / "rooms"),
        str(tmp_path / "result"),
    ]
    workers = [
        subprocess.Popen(command, env=environment | {"LOCAL_RANK": str(rank), "NODE_RANK": "0"})
        for rank in range(2)
    ]
    assert [worker.wait(timeout=400) for worker in workers] == [0, 0]
    first, second = (torch.load(tmp_path / f"result{rank}") for rank in range(2))
    assert all(torch.equal(first["scored"][key], value) for key, value in first["famo"].items())
    assert [line["step"] for line in read_history(tmp_path / "scored" / "evaluations.jsonl")] == [2, 4]
    tiny_registry.add_file(TINY_PLUGINS.with_name("tiny_blocks.py"))
    for name, trainer in every_kind(tmp_path / "alone", rooms):
        trainer.train()
        for key, value in parameters(trainer).items():
            assert torch.equal(first[name][key], second[name][key]), f"{name}: ranks differ in {key}"
            if value.numel():
                error = float((first[name][key] - value).abs().max())
                assert error <= 1e-5 * max(1.0, float(value.abs().max())), f"{name}: {key} is off by {error}"
