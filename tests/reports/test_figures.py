"""Figures: what they show, that every shape of results is survived, and that files are pictures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from mtlbench.reports.figures import charts, cosines, cost, curves, delta_m, figures, gallery, weights
from mtlbench.reports.figures.style import short
from mtlbench.reports.html import html
from mtlbench.reports.markdown import markdown
from PIL import Image
from results_factory import UGLY, make_results, without_seeds

from mtlbench.table import tabulate

ALL = ["delta_m", "cost", "losses", "weights", "cosines", "gallery_1", "gallery_2"]
LONG = tuple(f"A rather long method name, variant {i} with width={8 * i}" for i in range(12))


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def check_files(paths: list[Path]) -> None:
    for path in paths:
        if path.suffix == ".pdf":
            content = path.read_bytes()
            assert content.startswith(b"%PDF")
            assert content.rstrip().endswith(b"%%EOF")
        else:
            with Image.open(path) as image:
                assert np.asarray(image.convert("L")).var() > 10
                assert min(image.size) > 100


def test_every_figure_is_written_as_png_and_pdf(tmp_path: Path) -> None:
    results = make_results(tmp_path, candidates=3, seeds=2)
    paths = figures(results, tmp_path)
    assert [path.name for path in paths] == [f"{name}.{s}" for name in ALL for s in ("png", "pdf")]
    check_files(paths)


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"candidates": 1, "seeds": 1, "tasks": 1}, ["delta_m", "cost", "losses"]),
        ({"baseline": False, "cosines": False, "seeds": 2}, ["losses", "weights"]),
        ({"labels": (*LONG, UGLY), "seeds": 2}, ["delta_m", "cost", "losses", "weights", "cosines"]),
    ],
)
def test_ugly_shapes_leave_out_what_has_no_data(
    tmp_path: Path, options: dict[str, object], names: list[str]
) -> None:
    paths = figures(make_results(**options), tmp_path)  # type: ignore[arg-type]
    assert [path.stem for path in paths[::2]] == names
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == sorted(p.name for p in paths)
    check_files(paths)


def test_nan_everywhere_is_survived(tmp_path: Path) -> None:
    results = make_results(candidates=3, seeds=2)
    spoilt = {
        "scores": results.scores.assign(value=results.scores["value"].where(results.scores["row"] != 0)),
        "delta_m": results.delta_m.assign(
            delta_m=results.delta_m["delta_m"].where(results.delta_m["row"] != 0)
        ),
        "costs": results.costs.assign(macs=results.costs["macs"].where(results.costs["row"] != 1)),
        "losses": results.losses.assign(loss=results.losses["loss"].where(results.losses["step"] < 200)),
        "cosines": results.cosines.assign(
            cosine=results.cosines["cosine"].where(results.cosines["row"] != 2)
        ),
    }
    check_files(figures(replace(results, **spoilt), tmp_path))
    nothing = {name: frame.iloc[:0] for name, frame in spoilt.items()}
    assert charts(replace(results, **nothing)) == ()


def test_bars_carry_the_tables_numbers() -> None:
    results = without_seeds(make_results(candidates=4), 3, (0, 1, 2), "failed: hang")
    bars = delta_m.prepare(results)
    table = tabulate(results)
    place = table.index("delta_m")
    expected = [line.entries[place] for line in table.lines if line.role == "candidate"]
    assert [bar.mean for bar in bars] == [entry.mean for entry in expected]
    assert all(np.mean(bar.values) == pytest.approx(bar.mean) for bar in bars if bar.mean is not None)
    assert [len(bar.values) for bar in bars] == [3, 3, 3, 0]
    drawn = texts(delta_m.draw(bars))
    assert drawn[:3] == [entry.text for entry in expected[:3]]
    assert drawn[3] == "— failed: hang"


def test_points_are_named_without_overlap() -> None:
    points = cost.prepare(make_results(labels=LONG))
    assert len(points) == 13
    assert sum(point.baseline for point in points) == 1
    assert len(set(texts(cost.draw(points)))) == 13
    places = cost.spread([0.1, 0.5, 0.51, 0.52, 0.99, 1.0], 0.1)
    assert min(np.diff(places)) >= 0.1 - 1e-9
    assert 0 <= places[0] <= places[-1] <= 1


def test_curves_are_means_over_seeds() -> None:
    results = make_results(candidates=1, reference=False)
    losses = results.losses
    (curve, *_) = curves.prepare(results, "loss")["depth"]
    assert curve.name == "Single task"
    depth = losses[(losses["row"] == 1) & (losses["task"] == "depth")]
    by_step = depth.groupby("step")["loss"].mean()
    assert curve.step == pytest.approx(by_step.index.to_numpy())
    assert curve.mean == pytest.approx(by_step.to_numpy())
    assert (curve.low <= curve.mean).all()
    assert (curve.mean <= curve.high).all()


def test_rows_whose_weights_never_change_are_left_out_of_the_weights() -> None:
    results = make_results(candidates=3)
    panels = curves.prepare(results, "weight")
    assert [curve.name for curve in panels["edge"]] == ["DeGMix · equal", "DeGMix · uncertainty"]
    panels = weights.prepare(results)
    assert [curve.name for curve in panels["edge"]] == ["DeGMix · uncertainty"]


def test_legend_stands_where_a_panel_is_free() -> None:
    panels = curves.prepare(make_results(candidates=3), "loss")
    five = dict.fromkeys("abcde", panels["depth"])
    assert not curves.draw(five, "loss").legends
    assert curves.draw(panels, "loss").legends


def test_a_chart_is_drawn_once_for_all_reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []
    draw = delta_m.draw
    monkeypatch.setattr(delta_m, "draw", lambda bars: drawn.append("delta_m") or draw(bars))
    results = make_results(candidates=2, seeds=1, tasks=1)
    for report in (figures, markdown, html):
        report(results, tmp_path)
    assert drawn == ["delta_m"]
    figures(make_results(candidates=2, seeds=1, tasks=1), tmp_path)
    assert len(drawn) == 2


def test_heat_maps_hold_the_mean_cosines() -> None:
    results = make_results(candidates=2, tasks=3)
    heat_map = cosines.prepare(results)[1]
    assert heat_map.pairs == ("semseg · depth", "semseg · normals", "depth · normals")
    frame = results.cosines
    given = frame[(frame["row"] == 1) & (frame["task_a"] == "depth")]["cosine"].mean()
    assert np.nanmean(heat_map.values[2]) == pytest.approx(given, abs=0.02)


def test_gallery_lists_ground_truth_then_rows(tmp_path: Path) -> None:
    results = make_results(tmp_path, candidates=2)
    first = gallery.prepare(results)[0]
    assert [name for name, _ in first.lines] == [
        "ground truth",
        "Single task",
        "DeGMix · equal",
        "DeGMix · uncertainty",
    ]
    assert first.tasks == ("semseg", "depth", "normals", "edge")
    first.lines[1][1]["depth"].unlink()
    again = gallery.prepare(results)[0]
    assert "depth" not in again.lines[1][1]
    assert "no prediction" in texts(gallery.draw(again))


def test_files_are_the_same_each_time(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    first, second = (
        figures(make_results(candidates=2, seeds=1, tasks=1), tmp_path / name) for name in ("a", "b")
    )
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]


def test_short_labels_keep_both_ends() -> None:
    text = short("an exceedingly long label whose end tells it apart: depth=4", 20)
    assert text.startswith("an exceedingly")
    assert text.endswith("depth=4")
    assert all(len(line) <= 20 for line in text.split("\n"))
    assert short("A rather long method name, variant 0 w=0 · equal", 24).endswith("· equal")
    assert short(40 * "x", 10, lines=1) == "xxxx…xxxx"
