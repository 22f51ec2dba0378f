"""Commands that the page shows: a shell takes them, and they mean the very cells of the row."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from mtlbench.reports.html_commands import cell_command, row_command

from mtlbench.cell_pages import CellPages
from mtlbench.config import load_grid
from mtlbench.folder import Job
from mtlbench.plan import Row, expand
from mtlbench.registry import registry

GRID: dict[str, Any] = {
    "dataset": {"name": "rooms", "train": 8, "val": 2, "size": "32x48"},
    "tasks": ["semseg", "depth", "edge"],
    "backbone": "efficientnet-lite0",
    "method": ["multi_task", {"name": "degmix", "depth": 2}],
    "balancer": [{"name": "cagrad", "c": 1e-5}, "equal"],
    "seed": [0, 3],
    "baseline": "single_task",
    "reference": "constant",
    "recipe": {"iterations": 2, "lr": 1e-5, "clip": 1.5},
}


def planned(folder: Path, keys: dict[str, Any]) -> list[Row]:
    file = folder / "grid.yaml"
    file.write_text(json.dumps(keys), encoding="utf-8")
    return expand(load_grid(file, registry), registry).rows


def carried_out(command: str, folder: Path) -> list[list[str]]:
    """What `mtlbench` is called with when a shell runs a command."""
    script = f'mtlbench() {{ printf "%s\\t" "$@"; echo; }}\n{command}'
    done = subprocess.run(["bash", "-euc", script], cwd=folder, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")
    return [line.strip("\t").split("\t") for line in done.stdout.splitlines()]


def commands_of(rows: list[Row]) -> dict[int, str]:
    """As the page makes them: from records as the store keeps them."""
    specs = CellPages(rows=[json.loads(json.dumps(row.record())) for row in rows]).specs()
    return {i: row_command(f"grid-row{i}", spec) for i, spec in specs.items()}


@pytest.mark.parametrize("protocol", ["joint", "leave_one_out"])
def test_a_grid_of_a_row_stands_for_its_cells(tmp_path: Path, protocol: str) -> None:
    rows = planned(tmp_path, {**GRID, "protocol": protocol})
    commands = commands_of(rows)
    assert len(commands) == len(rows) > 5
    for i, command in commands.items():
        ((run, file),) = carried_out(command, tmp_path)
        assert run == "run"
        (again,) = expand(load_grid(tmp_path / file, registry), registry).rows
        found = {seed: [cell.id for cell in cells] for seed, cells in again.cells.items()}
        assert found == {seed: [cell.id for cell in cells] for seed, cells in rows[i].cells.items()}


def test_jobs_of_a_row_of_stages_are_its_cells_after_what_they_start_from(tmp_path: Path) -> None:
    protocol = {"name": "task_addition", "base": ["semseg"], "add": ["depth", "edge"]}
    rows = planned(tmp_path, {**GRID, "method": "multi_task", "balancer": "equal", "protocol": protocol})
    last = next(i for i, row in enumerate(rows) if len(row.stages) == 3)
    called = carried_out(commands_of(rows)[last], tmp_path)
    jobs = [Job.model_validate_json((tmp_path / file).read_bytes()) for run, file in called]
    wanted = [one.id for cells in rows[last].cells.values() for cell in cells for one in cell.lineage]
    assert [job.cell.id for job in jobs] == wanted
    assert [job.folder.name for job in jobs] == wanted
    assert {run for run, _ in called} == {"run-cell"}


def test_a_cell_that_holds_images_out_is_run_by_its_job(tmp_path: Path) -> None:
    (row, *_) = planned(tmp_path, {**GRID, "baseline": None, "reference": []})
    cell = row.cells[0][0].held_out(0.25)
    ((_, file),) = carried_out(cell_command(cell, ["my plugin's.py"]), tmp_path)
    job = Job.model_validate_json((tmp_path / file).read_bytes())
    assert job.cell == cell
    assert job.plugins == ("my plugin's.py",)
