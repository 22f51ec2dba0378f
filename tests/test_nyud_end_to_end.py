"""The data set `nyud` from the command line, at its full size, with real networks."""

import json
import shutil
from math import isfinite
from pathlib import Path
from typing import Any

import pytest
import yaml
from grid_runs import GridRuns
from mtlbench.datasets.layouts import write_nyud

SIZE = (425, 560)
CONTENT: dict[str, Any] = {
    "name": "nyud",
    "tasks": ["semseg", "normals"],
    "backbone": "resnet18",
    "method": {"name": "multi_task", "head_channels": 16},
    "balancer": "uncertainty",
    "baseline": {"name": "single_task", "head_channels": 16},
    "recipe": {"iterations": 2, "batch_size": 2, "lr": 0.001},
    "execution": {"gallery": 1, "log_every": 1},
}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("archive") / "NYUDv2"
    write_nyud(root, train=4, val=2, size=SIZE)
    return root


def write_grid(folder: Path, root: Path, **changes: Any) -> GridRuns:
    content = {**CONTENT, "dataset": {"name": "nyud", "root": str(root)}, **changes}
    (folder / "grid.yaml").write_text(yaml.safe_dump(content))
    return GridRuns(folder)


@pytest.mark.slow
def test_a_grid_on_nyud(tree: Path, tmp_path: Path) -> None:
    grid = write_grid(tmp_path, tree)
    done = grid.mtlbench("run", "grid.yaml", "--jobs", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    results = grid.results()
    assert len(results) == 1 + 2
    for result in results.values():
        assert all(isfinite(result["scores"][name][task["metric"]]) for name, task in result["tasks"].items())
        assert result["costs"]["input_size"] == list(SIZE)
        assert result["images"] == {"train": 4, "val": 2}
    macs = {len(r["cell"]["tasks"]): r["costs"]["macs"] for r in results.values()}
    assert 8.6e9 < macs[1] < macs[2] < 15e9  # resnet18 alone: 1.82e9 on 224x224, 8.64e9 here
    for expected in ("multi_task", "mIoU", "mErr", "single_task"):
        assert expected in done.stdout
    lines = [json.loads(x) for f in grid.runs.rglob("history.jsonl") for x in f.read_text().splitlines()]
    assert all(isfinite(loss) for line in lines for loss in line["losses"].values())


@pytest.mark.parametrize("split_image", ["0002", "0005"], ids=["train", "val"])
def test_a_truncated_file_fails_with_its_path(tmp_path: Path, split_image: str) -> None:
    root = tmp_path / "NYUDv2"
    write_nyud(root, train=4, val=2, size=(64, 96))
    path = root / "segmentation" / f"{split_image}.png"
    path.write_bytes(path.read_bytes()[:100])
    grid = write_grid(tmp_path, root, balancer="equal", baseline=None)
    done = grid.mtlbench("run", "grid.yaml", "--jobs", "1")
    assert done.returncode == 1, done.stdout + done.stderr
    (failure,) = grid.failures().values()
    assert failure["kind"] == "data"
    assert str(path) in failure["message"]
    assert str(path) in done.stdout


@pytest.mark.parametrize("missing", ["", "depth"], ids=["root", "folder"])
def test_a_missing_folder_stops_before_anything_starts(tmp_path: Path, missing: str) -> None:
    root = tmp_path / "NYUDv2"
    write_nyud(root, train=2, val=1, size=(32, 48))
    shutil.rmtree(root / missing)
    done = write_grid(tmp_path, root).mtlbench("run", "grid.yaml")
    assert done.returncode == 2, done.stdout
    assert str(root / missing) in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "runs" / "cells").exists()
