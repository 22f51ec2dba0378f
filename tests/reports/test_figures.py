"""Figures: what they show, that every shape of results is survived, and that files are pictures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from mtlbench.reports.figures import (
    balancing,
    charts,
    conflicts,
    cosines,
    cost,
    curves,
    delta_m,
    figures,
    gallery,
    points,
    weights,
)
from mtlbench.reports.figures.style import short
from mtlbench.reports.html import html
from mtlbench.reports.markdown import markdown
from PIL import Image
from results_factory import UGLY, make_results, without_seeds

from mtlbench.entries import DASH
from mtlbench.table import tabulate

GRADIENTS = ["cosine_means", "cosines", "conflicts", "norms"]
CURVES = ["losses", "weights"]
ALL = ["delta_m", "ranks", "cost", "profile", "balancing", *CURVES, *GRADIENTS, "gallery_1", "gallery_2"]
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
        ({"baseline": False, "cosines": False, "seeds": 2}, ["ranks", "cost", *CURVES]),
        (
            {"labels": (*LONG, UGLY), "seeds": 2},
            ["delta_m", "ranks", "cost", "profile", "balancing", *CURVES, *GRADIENTS],
        ),
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
        "gradients": results.gradients.assign(
            norm=results.gradients["norm"].where(results.gradients["step"] > 200)
        ),
        "balancing": results.balancing.assign(condition=np.nan),
        "balancers": results.balancers.assign(milliseconds=np.nan, share=np.nan),
    }
    check_files(figures(replace(results, **spoilt), tmp_path))
    nothing = {name: frame.iloc[:0] for name, frame in spoilt.items()}
    assert charts(replace(results, **nothing)) == ()


def test_bars_carry_the_tables_numbers() -> None:
    results = without_seeds(make_results(candidates=4), 3, (0, 1, 2), "failed: hang")
    bars, note = delta_m.prepare(results)
    assert note == ""
    table = tabulate(results)
    place = table.index("delta_m")
    expected = [line.entries[place] for line in table.lines if line.role == "candidate"]
    assert [bar.mean for bar in bars] == [entry.mean for entry in expected]
    assert all(np.mean(bar.values) == pytest.approx(bar.mean) for bar in bars if bar.mean is not None)
    assert [len(bar.values) for bar in bars] == [3, 3, 3, 0]
    drawn = texts(delta_m.draw(bars))
    assert drawn[:3] == [entry.value for entry in expected[:3]]
    for bar in bars[:3]:
        assert bar.interval is not None
        assert bar.interval[0] < min(bar.values) < max(bar.values) < bar.interval[1]
    assert drawn[3] == "— failed: hang"


def test_bars_of_one_method_are_named_by_what_tells_them_apart() -> None:
    results = make_results(candidates=3)
    tunings = ["full", "lora", "decoder", *["full"] * (len(results.rows) - 3)]
    method = results.rows["method"].where(results.rows["role"] != "candidate", "Shared")
    rows = results.rows.assign(method=method, balancer="Equal", tuning=tunings)
    bars, _ = delta_m.prepare(replace(results, rows=rows))
    assert [bar.group for bar in bars] == ["full", "lora", "decoder"]
    bars, _ = delta_m.prepare(replace(results, rows=rows.assign(tuning="full")))
    assert {bar.group for bar in bars} == {"Shared"}


def test_captions_say_that_intervals_are_cut() -> None:
    def captions(seeds: int) -> list[str]:
        made = make_results(seeds=seeds)
        far_apart = made.delta_m.assign(delta_m=made.delta_m["seed"] % 2 * 8.0 - 4)
        results = replace(made, delta_m=far_apart)
        return [chart.caption for figure in (delta_m, cost) for chart in figure.charts(results)]

    assert all("go on beyond" in caption for caption in captions(2))
    assert "go on beyond" not in captions(10)[0]


def test_bars_are_named_where_colours_run_out() -> None:
    bar = delta_m.Bar("Multi-task", "", 1.0, None, (1.0,), "+1.00")
    for count in (7, 8):
        figure = delta_m.draw([replace(bar, balancer=f"b{i}") for i in range(count)])
        names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
        assert names == (["Multi-task"] if count == 7 else [f"Multi-task · b{i}" for i in range(8)])
        assert bool(figure.legends) == (count == 7)


def test_points_are_named_without_overlap() -> None:
    found = balancing.prepare(make_results(labels=LONG))
    assert len(found) == 12
    assert len(set(texts(balancing.draw(found)))) == 12
    places = points.spread([0.1, 0.5, 0.51, 0.52, 0.99, 1.0], 0.1)
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
    panels = curves.prepare(results, "weight", weights.changing(results))
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
    heat_map = cosines.prepare(results)[0][1]
    assert heat_map.pairs == ("semseg · depth", "semseg · normals", "depth · normals")
    frame = results.cosines
    given = frame[(frame["row"] == 1) & (frame["task_a"] == "depth")]["cosine"].mean()
    assert np.nanmean(heat_map.values[2]) == pytest.approx(given, abs=0.02)


def test_heat_maps_have_the_same_lines() -> None:
    results = make_results(candidates=2, tasks=3)
    frame = results.cosines
    lacks = (frame["row"] == 1) & (frame["task_a"] == "depth")
    swapped = frame[~lacks].sort_values("task_b", ascending=False)
    (first, second), _ = cosines.prepare(replace(results, cosines=swapped))
    assert first.pairs == second.pairs == ("semseg · depth", "semseg · normals", "depth · normals")
    assert np.isnan(second.values[2]).all()
    assert texts(cosines.draw([second]))[2] == DASH


def test_conflicts_are_binned_by_row() -> None:
    results = make_results(candidates=6)
    found = conflicts.prepare(results)
    assert found is not None
    assert found.names == ("DeGMix · pcgrad", "Multi-task · pcgrad")
    of_row = results.balancing[results.balancing["row"] == 5]
    first = of_row[of_row["step"] <= 400 / 24]
    assert found.percent[1, 0] == pytest.approx(100 * first["conflicts"].mean())
    assert 10 ** found.log_condition[1, 0] == pytest.approx(np.exp(np.log(first["condition"]).mean()))
    assert conflicts.prepare(replace(results, balancing=results.balancing.assign(conflicts=np.nan))) is None


def test_a_row_that_ends_early_is_grey_after_its_end() -> None:
    results = make_results(candidates=6)
    frame = results.balancing
    found = conflicts.prepare(replace(results, balancing=frame[(frame["row"] != 2) | (frame["step"] <= 200)]))
    assert found is not None
    assert np.isfinite(found.percent[0]).tolist() == [True] * 12 + [False] * 12
    assert np.isfinite(found.percent[1]).all()


def test_cost_of_balancers_stands_beside_what_they_bring() -> None:
    results = make_results(candidates=6)
    found = {point.name: point for point in balancing.prepare(results)}
    names, roles = tabulate(results).names(), results.rows["role"]
    assert set(found) == {name for row, name in names.items() if roles[row] == "candidate"}
    assert found["Multi-task · pcgrad"].x == pytest.approx(35)
    assert found["Multi-task · pcgrad"].kind == "representation"
    assert found["DeGMix · equal"].kind == "losses only"
    assert found["DeGMix · equal"].y == pytest.approx(
        results.delta_m[results.delta_m["row"] == 0]["delta_m"].mean()
    )
    assert balancing.charts(make_results(baseline=False)) == []


@pytest.mark.parametrize(
    ("weights_of_steps", "scale"),
    [
        ([1.0, 1.2, 0.8, 1.1], "linear"),
        ([1.0, 30.0, 0.01, 2.0], "log"),
        ([-0.4, 1.0, 0.5, 0.6], "linear"),
        ([-900.0, 1.0, 0.5, 0.6], "symlog"),
        ([0.0, 0.0, 1.0, 400.0, 1.0], "symlog"),
        ([0.0, 0.0, 0.0, 0.0], "linear"),
    ],
)
def test_axes_fit_weights_of_any_sign_and_size(weights_of_steps: list[float], scale: str) -> None:
    values = np.array(weights_of_steps)
    curve = curves.Curve(0, "a", np.arange(len(values)), values, values, values)
    figure = curves.draw({"depth": [curve]}, "weight")
    figure.draw_without_rendering()
    (axes,) = figure.axes
    assert axes.get_yscale() == scale
    low, high = axes.get_ylim()
    assert low <= values.min() <= values.max() <= high
    shown = [tick for tick in axes.get_yticks() if low <= tick <= high]
    assert 2 <= len(shown) <= 10


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


def test_a_gallery_has_no_more_rows_than_a_page(tmp_path: Path) -> None:
    chart = gallery.charts(make_results(tmp_path, candidates=15, seeds=1))[0]
    assert "of 16 rows with the highest Δm are shown." in chart.caption
    assert chart.draw().get_figheight() < 9


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
