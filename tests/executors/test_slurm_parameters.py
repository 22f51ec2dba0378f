"""What is asked of Slurm; nothing runs here."""

from pathlib import Path
from typing import Any

import pytest

from mtlbench.errors import MtlbenchError
from mtlbench.executors.slurm import SlurmExecutor
from mtlbench.folder import Job
from mtlbench.spec import Cell, Choice, Execution

pytest.importorskip("submitit")


def job(seed: int, **execution: Any) -> Job:
    tiny = Choice(name="tiny")
    cell = Cell(dataset=tiny, tasks=("depth",), backbone=tiny, method=tiny, balancer=tiny, seed=seed)
    return Job(cell=cell, folder=Path("runs/cells") / cell.id, execution=Execution(**execution))


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    parameters = {
        "partiton": "gpu",
        "time": "2-00:00:00",
        "nodes": 2,
        "setup": {},
        "mem_gb": "8G",
        "qos": "x",
    }
    with pytest.raises(MtlbenchError) as caught:
        SlurmExecutor(tmp_path, parameters=parameters)
    for expected in (
        "--slurm partiton: unknown parameter `partiton`: did you mean `partition`",
        "--slurm time: must be a whole number of minutes >= 1, got '2-00:00:00'",
        "--slurm nodes: can't be set: a cell runs on one node",
        "--slurm setup: must be a list of commands, got {}",
        "--slurm mem_gb: must be a number, got '8G'",
        "no `sbatch`, `srun`, `scancel` on this machine",
        "parameters that --slurm takes: account, ",
    ):
        assert expected in str(caught.value), expected
    assert "qos:" not in str(caught.value)


def test_a_dry_run_shows_the_batch_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    given = {"slurm_partition": "gpu", "setup": "module load cuda", "array_parallelism": 4}
    executor = SlurmExecutor(tmp_path, parameters=given, dry_run=True)
    for seed in range(8):
        executor.submit(job(seed, time_limit=90.5, memory_gb=7.5))
    executor.submit(job(8, time_limit=90.5, devices=2, threads=3, workers=1))
    array, single = executor.describe().split("# 1 cells")
    for expected in (
        "# 8 cells, devices 1, threads None, memory_gb 7.5, time_limit 90.5",
        "#SBATCH --array=0-7%4",
        "#SBATCH --gpus-per-node=1",
        "#SBATCH --mem=8704MB",
        "#SBATCH --partition=gpu",
        "#SBATCH --requeue",
        "#SBATCH --signal=USR2@90",
        "#SBATCH --time=96",
        "module load cuda",
        "-u -m submitit.core._submit",
        *(job(seed).cell.id for seed in range(8)),
    ):
        assert expected in array, expected
    assert "--array" not in single
    assert "#SBATCH --gpus-per-node=2" in single
    assert "#SBATCH --cpus-per-task=8" in single
    assert "--cpus-per-task=8 " in single.split("# command")[1]
    assert executor.poll() == []
    assert executor.idle()
    assert not list(tmp_path.iterdir()), "nothing is written"


def test_what_the_user_gives_comes_first(tmp_path: Path) -> None:
    given = {"time": 600, "gres": "shard:1", "mem_per_cpu": "2GB", "cpus_per_task": 6}
    executor = SlurmExecutor(tmp_path, parameters=given, dry_run=True)
    executor.submit(job(0, time_limit=10, gpu=0.25, memory_gb=3, threads=2))
    text = executor.describe()
    for expected in ("--time=600", "--gres=shard:1", "--mem-per-cpu=2GB", "--cpus-per-task=6"):
        assert f"#SBATCH {expected}\n" in text
    assert "--mem=" not in text
    assert "--gpus-per-node" not in text


@pytest.mark.parametrize(
    ("given", "execution", "message"),
    [
        ({}, {}, "--slurm time: say how many minutes a Slurm job may take"),
        ({"time": 10}, {"gpu": 0.5}, "execution.gpu: Slurm gives whole GPUs, got 0.5"),
    ],
)
def test_a_job_that_slurm_cant_be_asked_for(
    tmp_path: Path, given: dict[str, Any], execution: dict[str, Any], message: str
) -> None:
    executor = SlurmExecutor(tmp_path, parameters=given, dry_run=True)
    with pytest.raises(MtlbenchError, match=message):
        executor.submit(job(0, **execution))
