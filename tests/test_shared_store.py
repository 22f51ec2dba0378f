"""Two drivers on one store, a PostgreSQL server, in real processes."""

import json
from collections import Counter
from pathlib import Path

import pytest
from grid_runs import TIMEOUT, GridRuns
from postgres_server import PostgresServer

CELLS = 4


@pytest.fixture
def store(server: PostgresServer) -> list[str]:
    """Arguments that choose it."""
    return ["--store", server.url]


@pytest.mark.slow
def test_two_drivers_share_a_grid_and_run_no_cell_twice(tmp_path: Path, store: list[str]) -> None:
    grid = GridRuns(tmp_path)
    grid.write(
        method={"name": "troubled", "trouble": "slow"},
        seed=list(range(CELLS)),
        tasks=["depth"],
        recipe={"iterations": 30, "batch_size": 4},
        execution={"gallery": 0},
    )
    drivers = [grid.start("--jobs", "1", *store) for _ in range(2)]
    outputs = [driver.communicate(timeout=TIMEOUT)[0] for driver in drivers]
    for driver, output in zip(drivers, outputs, strict=True):
        assert driver.returncode == 0, output
        assert "report.html" in output
    assert len(grid.results()) == CELLS
    starts = Counter(line for text in _logs(grid) for line in text.splitlines() if "another process" in line)
    assert not starts, "no cell was started by both"
    run_by = [sum(f"running {name}" in output for name in grid.results()) for output in outputs]
    assert sum(run_by) == CELLS, outputs
    for cell in grid.cells():
        steps = [json.loads(line)["step"] for line in (cell / "history.jsonl").read_text().splitlines()]
        assert steps == sorted(set(steps))
    frame = grid.mtlbench("status", "runs", *store)
    assert f"{CELLS} done" in frame.stdout, frame.stdout + frame.stderr


def _logs(grid: GridRuns) -> list[str]:
    return [(cell / "log.txt").read_text() for cell in grid.cells()]
