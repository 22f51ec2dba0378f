"""The commands of docs/fair_comparison.md do what the page says, on tiny data."""

import os
import re
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from grid_runs import GridRuns

PAGE = Path(__file__).parent.parent / "docs" / "fair_comparison.md"
TRIALS = [{"iterations": 3, "batch_size": 4, "optimizer": "adamw", "lr": lr} for lr in (0.001, 0.01)]
BALANCERS = [
    "equal",
    {"name": "fixed", "weights": {"semseg": 3, "depth": 1}},
    {"name": "cagrad", "c": [0.4, 0.8]},
]


def compare(folder: Path, choosing: str) -> pd.DataFrame:
    """What compare.py writes."""
    (script,) = re.findall(
        r"^```python\n# compare.py\n(.*?)^```$", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL
    )
    assert '"seed=1"' in script
    (folder / "compare.py").write_text(script.replace('"seed=1"', f'"{choosing}"'))
    command = [sys.executable, "-W", "error", "compare.py"]
    environment = {**os.environ, "MPLBACKEND": "Agg"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (folder / "front.png").stat().st_size > 5000
    return pd.read_csv(folder / "compare.csv", index_col="name")


def trials(grid: GridRuns, images: int, what: str, seed: int) -> dict[tuple[str, float], dict[str, Any]]:
    """(setting of the balancer, learning rate) -> result, of a balancer or of single networks."""
    found = {}
    for result in grid.results().values():
        cell = result["cell"]
        name = (
            "+".join(cell["tasks"]) if cell["method"]["name"] == "single_task" else cell["balancer"]["name"]
        )
        if (name, cell["seed"], cell["dataset"]["options"]["images"]) == (what, seed, images):
            found[str(cell["balancer"]["options"]), cell["recipe"]["lr"]] = result
    return found


def gain(result: dict[str, Any], singles: dict[str, dict[str, Any]]) -> float:
    """Delta_m in percent, written out once more."""
    gains = []
    for task, single in singles.items():
        metric = result["tasks"][task]["metric"]
        mine, theirs = result["scores"][task][metric], single["scores"][task][metric]
        gains.append((1 if result["tasks"][task]["higher_is_better"] else -1) * (mine - theirs) / theirs)
    return 100 * sum(gains) / len(gains)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> GridRuns:
    """One grid on images to choose by, one on the table's."""
    grid = GridRuns(tmp_path_factory.mktemp("fair"))
    for images, seeds in ((8, [0]), (12, [0, 1])):
        grid.write(
            name=f"images{images}",
            dataset={"name": "tiny", "images": images},
            tasks=["semseg", "depth"],
            method="multi_task",
            balancer=BALANCERS,
            baseline="single_task",
            recipe=TRIALS,
            seed=seeds,
            execution={"checkpoint_seconds": 100, "gallery": 0},
        )
        done = grid.run()
        assert done.returncode == 0, done.stdout + done.stderr
    return grid


@pytest.mark.slow
def test_settings_are_chosen_on_one_part_and_scored_on_the_other(runs: GridRuns) -> None:
    found = compare(runs.folder, "images=8")
    assert set(found.index) == {"equal", "cagrad", "fixed (weights={'depth': 1.0, 'semseg': 3.0})"}
    best = {}  # task -> setting of the single network
    for task in ("semseg", "depth"):
        tried = trials(runs, 8, task, 0)
        sign = 1 if task == "semseg" else -1
        metric = next(iter(tried.values()))["tasks"][task]["metric"]
        best[task] = max(tried, key=lambda k: sign * tried[k]["scores"][task][metric])
    singles = {task: trials(runs, 8, task, 0)[setting] for task, setting in best.items()}
    tried = trials(runs, 8, "cagrad", 0)
    assert len(tried) == 4
    chosen = max(tried, key=lambda setting: gain(tried[setting], singles))
    gains = []
    for seed in (0, 1):
        singles = {task: trials(runs, 12, task, seed)[setting] for task, setting in best.items()}
        gains.append(gain(trials(runs, 12, "cagrad", seed)[chosen], singles))
    assert found.delta_m["cagrad"] == pytest.approx(sum(gains) / 2)
    assert found["+-"]["cagrad"] == pytest.approx(12.706 * statistics.stdev(gains) / 2**0.5)
    assert f"lr {chosen[1]}," in found.setting["cagrad"]
    assert (found.seeds == 2).all()
    assert found["over equal"]["equal"] == 0
    assert found["time / equal"]["equal"] == 1


@pytest.mark.slow
def test_the_front_contains_none_of_its_own_points_below_it(runs: GridRuns) -> None:
    found = compare(runs.folder, "images=8")
    front = found[found.index != "cagrad"]
    errors = front.assign(semseg=-front.semseg)[["semseg", "depth"]]
    for name, row in errors.iterrows():
        better = (errors <= row).all(axis=1) & (errors < row).any(axis=1)
        assert front["below the front"][name] == better.any()


@pytest.mark.slow
def test_one_seed_gives_no_interval(runs: GridRuns) -> None:
    found = compare(runs.folder, "images=12")
    assert len(found) == 3
    assert found["+-"].isna().all()
    assert found.delta_m.notna().all()
