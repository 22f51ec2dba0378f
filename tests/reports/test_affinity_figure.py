"""The heat map of task affinity: its fields are the means, in every size."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from mtlbench.reports.csv import csv
from mtlbench.reports.figures import affinity as figure
from mtlbench.reports.figures import charts
from mtlbench.reports.html import html
from PIL import Image
from results_factory import TASKS, make_protocols, make_results

from mtlbench.affinity import affinity, pairs
from mtlbench.results import Results, TaskColumn

SIX = (
    *TASKS,
    TaskColumn("sal", "maxF", "sal.maxF", True, 100.0),
    TaskColumn("human_parts", "mIoU", "parts", True, 100.0),
)


@pytest.fixture(scope="module")
def results() -> Results:
    return make_protocols(seeds=2)


def drawn(results: Results) -> tuple[list[figure.AffinityMap], Figure]:
    maps = figure.prepare(pairs(results), [task.name for task in results.tasks])
    return maps, figure.draw(maps)


def test_fields_are_the_means_of_what_a_target_gains(results: Results) -> None:
    together, added = drawn(results)[0]
    assert (together.kind, added.kind) == ("together", "added")
    names = [task.name for task in TASKS]
    for found in affinity(pairs(results)).to_dict("records"):
        panel = together if found["kind"] == "together" else added
        place = names.index(found["target"]), names.index(found["source"])
        assert panel.mean[place] == found["mean"]
        assert panel.pairs[place] == found["pairs"]
    assert np.isnan(np.diag(together.mean)).all()
    assert np.isfinite(added.mean).sum() == 5


def test_numbers_and_counts_are_written_into_the_fields(results: Results) -> None:
    maps, drawing = drawn(results)
    texts = [text.get_text() for text in drawing.axes[0].texts]
    depth_from_semseg = maps[0].mean[1, 0]
    assert f"{depth_from_semseg:+.2f}\nn = 12" in texts
    assert sum(text.endswith("n = 12") for text in texts) == 12
    assert [axes.get_title() for axes in drawing.axes[:2]] == ["trained together", "added later"]
    low, high = drawing.axes[0].collections[0].get_clim()
    assert low == -high
    assert high == max(np.nanmax(np.abs(found.mean)) for found in maps)


@pytest.mark.parametrize(("tasks", "panels"), [(TASKS[:2], 1), (SIX, 2)])
def test_sizes(tasks: tuple[TaskColumn, ...], panels: int) -> None:
    (chart,) = figure.charts(make_protocols(tasks, seeds=1))
    assert len(chart.draw().axes) == panels + 1
    with Image.open(io.BytesIO(chart.png)) as image:
        assert image.width <= 7.3 * 200
        assert np.asarray(image.convert("L")).var() > 10


def test_fields_against_another_architecture_have_a_star(results: Results) -> None:
    (chart,) = figure.charts(results)
    assert "trained for longer" in chart.caption
    assert "another architecture" not in chart.caption
    two = make_protocols(TASKS[:2], seeds=1)
    (chart,) = figure.charts(two)
    assert "another architecture" in chart.caption
    assert "longer" not in chart.caption
    texts = [text.get_text() for text in drawn(two)[1].axes[0].texts]
    assert [text[-7:] for text in texts if text] == ["*\nn = 1"] * 2


def test_each_data_set_has_its_own(results: Results) -> None:
    rows = pd.concat(
        [results.rows, results.rows.assign(dataset="nyud", cells=results.rows["cells"].map(str))]
    )
    count = len(results.rows)
    rows = rows.reset_index(drop=True).rename_axis("row")
    scores = pd.concat([results.scores, results.scores.assign(row=results.scores["row"] + count)])
    found = figure.charts(replace(results, rows=rows, scores=scores))
    assert [chart.name for chart in found] == ["affinity_1", "affinity_2"]
    assert sorted(chart.title.split()[-1] for chart in found) == ["nyud", "rooms"]


def test_reports_hold_it_where_there_are_pairs(results: Results, tmp_path: Path) -> None:
    assert "affinity" in [chart.name for chart in charts(results)]
    assert 'id="affinity"' in html(results, tmp_path)[0].read_text()
    gains = tmp_path / "affinity.csv"
    assert gains in csv(results, tmp_path)
    read = pd.read_csv(gains)
    assert list(read.columns) == [
        "dataset",
        "kind",
        "source",
        "target",
        "mean",
        "std",
        "pairs",
        "same_method",
    ]
    assert len(read) == 12 + 5
    plain = make_results()
    assert "affinity" not in [chart.name for chart in charts(plain)]
    assert gains not in csv(plain, tmp_path)
    assert not gains.exists()
