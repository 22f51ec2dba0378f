"""A small grid comes out the same, to the last bit, after kills, damaged files and a full disk."""

import os
from pathlib import Path

import pytest
from chaos import chaos, summary
from chaos_faults import FAULTS
from chaos_scene import Scene, grid

from mtlbench.cell import run_cell
from mtlbench.config import load_grid
from mtlbench.folder import Job
from mtlbench.plan import expand
from mtlbench.registry import registry
from mtlbench.store import Runs

ITERATIONS = 30
KINDS = (
    "kill -9 of a cell",
    "kill -9 of the driver",
    "a corrupted result of a done cell",
    "a full disk for some seconds",
    "a flipped bit in a checkpoint of a running cell",
    "a jump of the clock",
)


@pytest.fixture
def calm(tmp_path: Path) -> Scene:
    """The cells one after the other, each in a fork, without a driver."""
    scene = Scene(tmp_path / "calm", tmp_path / "calm" / "runs", grid(6, ITERATIONS))
    planned = load_grid(scene.place / "grid.yaml", registry)
    runs = Runs(scene.runs)
    for cell in expand(planned, registry).cells:
        job = Job(
            cell=cell, folder=runs.folder(cell).path, execution=planned.execution, plugins=planned.plugins
        )
        child = os.fork()
        if not child:
            os._exit(run_cell(job))
        assert os.waitpid(child, 0)[1] == 0, runs.folder(cell).failure()
    return scene


@pytest.mark.slow
def test_faults_change_no_result(tmp_path: Path, calm: Scene) -> None:
    assert len(calm.scores()) == 6
    kinds = {name: FAULTS[name] for name in KINDS}
    outcome = chaos(
        tmp_path / "chaos", faults=len(KINDS), cells=6, seed=1, iterations=ITERATIONS, kinds=kinds, calm=calm
    )
    assert outcome.good, summary(outcome)
    assert len(outcome.hits) >= len(KINDS) - 1, summary(outcome)
    assert len(outcome.drivers) > 1
