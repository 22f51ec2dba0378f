"""Cells that use several devices, here CPU processes, compute what one process computes."""

import json
import os
from math import isfinite
from pathlib import Path
from typing import Any

import pytest
from grid_runs import GridRuns

BALANCERS: dict[str, Any] = {
    "equal": "equal",
    "uncertainty": "uncertainty",
    "gls": "gls",
    "famo": "famo",
    "pcgrad": "pcgrad",
    "cagrad-maps": {"name": "cagrad", "at": "representation"},
    "gradnorm": "gradnorm",
    "imtl-every": {"name": "imtl", "every": 2},
    "graddrop": "graddrop",
    "moco": "moco",
    "modo": "modo",
}
"""Label -> balancer: of every kind, and in every place, one or more."""
CONTENT: dict[str, Any] = {
    "backbone": {"name": "tiny", "dropout": 0.0},
    "balancer": [{**({"name": b} if isinstance(b, str) else b), "label": n} for n, b in BALANCERS.items()],
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
    choices = {label: {"name": b} if isinstance(b, str) else b for label, b in BALANCERS.items()}
    labels = {(b["name"], b.get("at"), b.get("every")): label for label, b in choices.items()}
    found = {}
    for result in grid.results().values():
        balancer = result["cell"]["balancer"]
        key = (balancer["name"], balancer["options"].get("at"), balancer["options"].get("every"))
        found[labels[key]] = flat(result["scores"])
    return found


@pytest.mark.slow
def test_two_processes_give_the_scores_of_one(tmp_path: Path) -> None:
    dataset = {"name": "tiny", "images": 11}  # of which the second process evaluates one less
    one = by_balancer(run(tmp_path / "one", 1, dataset=dataset))
    two = by_balancer(run(tmp_path / "two", 2, dataset=dataset))
    assert one.keys() == two.keys() == BALANCERS.keys()
    for balancer, scores in one.items():
        assert two[balancer] == pytest.approx(scores, abs=1e-5), balancer
    assert len({tuple(scores.values()) for scores in one.values()}) == len(BALANCERS), "balancers do nothing"


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
