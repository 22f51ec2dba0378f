"""Results in files for other programs."""

import json
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console
from test_folder import make_result

import mtlbench
from mtlbench.errors import MtlbenchError
from mtlbench.export_command import export
from mtlbench.folder import Job
from mtlbench.store import Runs

CONSOLE = Console(quiet=True)


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    runs, result = Runs(tmp_path / "runs"), make_result()
    result.scores["depth"] |= {"precise": 0.1 + 0.2, "missing": float("nan")}
    folder = runs.folder(result.cell)
    folder.create(Job(cell=result.cell, folder=folder.path))
    folder.note({"step": 1, "losses": {"depth": 2.5}, "weights": {}, "norms": {"depth": 0.5}})
    folder.finish(result)
    held_out = result.cell.changed(holdout=0.5)
    trial = runs.folder(held_out)
    trial.create(Job(cell=held_out, folder=trial.path))
    trial.finish(result.model_copy(update={"cell": held_out}))
    return runs


@pytest.mark.parametrize("suffix", ["csv", "parquet", "json"])
def test_every_form_holds_every_number(runs: Runs, tmp_path: Path, suffix: str) -> None:
    out = tmp_path / "new" / f"scores.{suffix}"
    export(runs.root, out, CONSOLE)
    if suffix == "json":
        content = json.loads(out.read_text())
        found = pd.DataFrame(content["rows"], columns=content["columns"])
    else:
        found = pd.read_csv(out) if suffix == "csv" else pd.read_parquet(out)
    expected = mtlbench.load(runs.root)
    assert list(found.columns) == list(expected.columns)
    assert found["value"].astype(float).equals(expected["value"]), "bit for bit, a missing one too"
    assert set(found["split"]) == {"val"}


def test_trials_only_where_asked_for(runs: Runs, tmp_path: Path) -> None:
    out = tmp_path / "scores.csv"
    export(runs.root, out, CONSOLE, held_out=True)
    assert set(pd.read_csv(out)["split"]) == {"val", "holdout"}


def test_curves(runs: Runs, tmp_path: Path) -> None:
    out = tmp_path / "curves.csv"
    export(runs.root, out, CONSOLE, curves=True)
    found = pd.read_csv(out)
    assert list(zip(found["step"], found["task"], found["quantity"], found["value"], strict=True)) == [
        (1, "depth", "loss", 2.5),
        (1, "depth", "norm", 0.5),
    ]


def test_what_can_not_be_written(runs: Runs, tmp_path: Path) -> None:
    with pytest.raises(MtlbenchError, match=r"must end in .csv, .parquet, .json, got .*scores.xls"):
        export(runs.root, tmp_path / "scores.xls", CONSOLE)
    with pytest.raises(MtlbenchError, match=r"unknown grid .* `other`"):
        export(runs.root, tmp_path / "scores.csv", CONSOLE, grid="other")
