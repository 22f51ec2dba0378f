"""Every layout: rooms written in it, then one grid from the command line that trains and evaluates on all."""

from math import isfinite
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import TINY_PLUGINS
from grid_runs import GridRuns
from mtlbench.datasets.layouts import LAYOUTS, make_rooms

WRITTEN: dict[str, tuple[str, dict[str, Any]]] = {
    "nyud": ("32x48", {"name": "nyud"}),
    "nyud_mt": ("32x48", {"name": "nyud"}),
    "pascal_context": ("36x48", {"name": "pascal_context", "size": "64x64"}),
    "cityscapes": ("64x128", {"name": "cityscapes", "size": "32x64"}),
    "nyuv2_mtan": ("36x48", {"name": "nyuv2_mtan"}),
    "cityscapes_mtan": ("32x64", {"name": "cityscapes_mtan"}),
}
"""The size that a layout is written in, and what reads it."""


@pytest.mark.slow
def test_a_grid_on_every_layout(tmp_path: Path) -> None:
    assert set(WRITTEN) == set(LAYOUTS)
    grid, datasets = GridRuns(tmp_path), []
    for layout, (size, dataset) in WRITTEN.items():
        datasets.append({**dataset, "root": layout})
        if dataset is not WRITTEN["cityscapes"][1]:
            make_rooms(root=str(tmp_path / layout), train=4, val=2, size=size, layout=layout)
    counts = ("--train", "4", "--val", "2", "--size", WRITTEN["cityscapes"][0])
    made = grid.mtlbench("data", "make", "rooms", "--layout", "cityscapes", "--root", "cityscapes", *counts)
    assert made.returncode == 0, made.stdout + made.stderr
    content = {
        "name": "archives",
        "plugins": [str(TINY_PLUGINS)],
        "dataset": datasets,
        "backbone": "tiny",
        "method": {"name": "multi_task", "head_channels": 8},
        "recipe": {"iterations": 2, "batch_size": 2, "lr": 0.001},
    }
    (tmp_path / "grid.yaml").write_text(yaml.safe_dump(content))
    done = grid.mtlbench("run", "grid.yaml", "--jobs", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    results = grid.results().values()
    assert len(results) == len(WRITTEN)
    for result in results:
        assert result["images"] == {"train": 4, "val": 2}
        for task, scores in result["scores"].items():
            assert any(isfinite(value) for value in scores.values()), (result["cell"]["dataset"], task)
