"""What a grid says of its report: checked with its other keys, kept with its rows, replaced by a command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from cells_factory import make_cell, make_result
from typer.testing import CliRunner

from mtlbench.cli import app
from mtlbench.collect import collect
from mtlbench.config import load_grid
from mtlbench.errors import MtlbenchError
from mtlbench.folder import Job
from mtlbench.layouts.collected import report_record
from mtlbench.layouts.main import main_table
from mtlbench.layouts.settings import ReportSettings
from mtlbench.plan import Row, expand
from mtlbench.registry import Registry
from mtlbench.store import Runs

GRID: dict[str, Any] = {
    "dataset": "tiny",
    "backbone": "tiny",
    "method": "multi_task",
    "recipe": {"iterations": 4, "batch_size": 4},
}


def load(folder: Path, registry: Registry, **keys: Any) -> Any:
    file = folder / "grid.yaml"
    file.write_text(yaml.safe_dump({**GRID, **keys}))
    return load_grid(file, registry)


def test_a_grid_says_how_its_table_looks(tmp_path: Path, tiny_registry: Registry) -> None:
    look = {"layout": "tuning", "columns": ["method", "depth", "depth.rmse.images"], "spread": "interval"}
    grid = load(tmp_path, tiny_registry, report=look, published=["degmix_table1_nyud", "auto"])
    assert grid.report == ReportSettings.model_validate(look)
    assert grid.published == ("degmix_table1_nyud", "auto")
    assert load(tmp_path, tiny_registry, published="auto").published == ("auto",)
    assert load(tmp_path, tiny_registry).report == ReportSettings()


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"report": {"layot": "tuning"}}, "report.layot: unknown key `layot`: did you mean `layout`"),
        ({"report": {"layout": "table1"}}, "report.layout: must be 'auto'"),
        (
            {"report": {"columns": ["method", "deph"]}},
            r"report.columns\[1\]: unknown column `deph`: did you mean",
        ),
        ({"report": "tuning"}, "report: must be a mapping"),
        ({"published": "degmix_table9"}, "published: unknown published table `degmix_table9`"),
        ({"published": ["auto", "degmix_table9"]}, r"published\[1\]: unknown published table"),
        ({"published": 3}, "published: must name one or several tables"),
    ],
)
def test_mistakes_are_found_before_anything_runs(
    tmp_path: Path, tiny_registry: Registry, keys: dict[str, Any], message: str
) -> None:
    with pytest.raises(MtlbenchError, match=message):
        load(tmp_path, tiny_registry, **keys)


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    """A grid of one done cell, which wants a table of its own."""
    runs, cell = Runs(tmp_path / "runs"), make_cell("depth")
    labels = dict.fromkeys(("dataset", "backbone", "method", "balancer", "tuning", "recipe", "protocol"), "x")
    rows = [Row("candidate", labels, ("depth",), (("depth",),), {0: [cell]})]
    report = {"settings": {"columns": ["method", "depth"], "spread": "none"}, "defaults": {}}
    runs.save_grid("mine", [row.record() for row in rows], ["degmix_table1_nyud"], report)
    folder = runs.folder(cell)
    folder.create(Job(cell=cell, folder=folder.path))
    folder.finish(make_result(cell))
    runs.index([cell.id])
    return runs


def test_it_is_kept_with_the_grid(runs: Runs) -> None:
    results = collect(runs, "mine")
    assert results.published == ("degmix_table1_nyud",)
    assert [column.name for column in main_table(results).columns] == ["method", "depth"]
    assert results.settings[0]["method"] == {"name": "multi_task"}
    assert list(results.efforts["total_trainable"]) == [1]
    assert results.efforts["encoder_passes"].isna().all(), "nobody counted them then"


def test_older_grids_say_nothing(runs: Runs) -> None:
    runs.save_grid("old", runs.grids()["mine"])
    results = collect(runs, "old")
    assert (results.published, results.report) == ((), ReportSettings())


def test_a_command_replaces_it(runs: Runs) -> None:
    invoked = CliRunner().invoke(
        app, ["report", str(runs.root), "--layout", "comparison", "--columns", "method,parameters"]
    )
    assert invoked.exit_code == 0, invoked.output
    written = (runs.reports("mine") / "table.csv").read_text().splitlines()
    assert written[0].startswith("row,role,published,method,parameters")
    wrong = CliRunner().invoke(app, ["report", str(runs.root), "--columns", "method,semseg"])
    assert isinstance(wrong.exception, MtlbenchError)
    assert "unknown column `semseg`" in str(wrong.exception)


def test_defaults_are_kept_for_columns_of_options(tmp_path: Path, tiny_registry: Registry) -> None:
    grid = load(tmp_path, tiny_registry, method=[{"name": "troubled", "when": [1, 2], "label": "T {when}"}])
    record = report_record(grid.report, expand(grid, tiny_registry).rows, tiny_registry)
    assert "when" in record["defaults"]["method"]["troubled"]
    assert record["settings"]["layout"] == "auto"
