"""A grid from the command line, on a fake Slurm, with real cells."""

import os
import signal
import sys
from pathlib import Path

import pytest
from forked_commands import Command
from grid_runs import TIMEOUT, GridRuns

from mtlbench.cell import run_cell
from mtlbench.folder import RunFolder, read_job

pytest.importorskip("submitit")
FAKES = Path(__file__).parents[1] / "fake_slurm"
sys.path.insert(0, str(FAKES))
from fake import Cluster  # noqa: E402


@pytest.mark.slow
def test_a_preempted_cell_ends_with_the_scores_of_an_undisturbed_one(
    tmp_path: Path,
) -> None:
    cluster = Cluster(tmp_path / "cluster")
    cluster.folder.mkdir()
    grid = GridRuns(tmp_path)
    method = {"name": "troubled", "trouble": "slow"}
    grid.write(method=method, balancer="uncertainty", recipe={"iterations": 30, "batch_size": 4})
    slurm = [word for given in ("time=10", "gpus_per_node=0") for word in ("--slurm", given)]
    process = Command(
        ("run", "grid.yaml", "--executor", "slurm", *slurm),
        tmp_path,
        environment=os.environ
        | {"FAKE_SLURM": str(cluster.folder), "PATH": f"{FAKES}{os.pathsep}{os.environ['PATH']}"},
    )
    try:
        grid.wait_for_steps(5, process)
        cluster.preempt("101")
        output, _ = process.communicate(timeout=TIMEOUT)
    finally:
        cluster.stop()
        process.kill()
        process.communicate()
    assert process.returncode == 0, output
    with cluster.tasks() as tasks:
        assert tasks["101"]["runs"] == 2
    (folder,) = grid.cells()
    assert "going on from the checkpoint of step" in (folder / "log.txt").read_text()

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    job = read_job(RunFolder(folder).job).model_copy(update={"folder": tmp_path / "undisturbed"})
    assert run_cell(job) == 0
    for number, handler in before.items():
        signal.signal(number, handler)
    undisturbed, result = RunFolder(job.folder).result(), RunFolder(folder).result()
    assert undisturbed is not None
    assert result is not None
    assert result.scores == undisturbed.scores
