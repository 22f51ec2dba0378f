"""Accuracy against cost, gains by task, what leaving tasks out does, and how costs grow."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from mtlbench.reports.figures import cosine_matrix, cost, growth, left_out, profile
from mtlbench.reports.figures.front import front
from results_factory import make_protocols, make_results

from mtlbench.results import COSTS, Results


def test_front_holds_what_nothing_beats() -> None:
    assert front([(1, 0.0), (2, 5.0), (2, 4.0), (3, 5.0), (4, 6.0), (1, -1.0)]) == [0, 1, 4]
    assert front([]) == []


def test_delta_m_stands_over_three_costs() -> None:
    results = make_results(candidates=3)
    (line,) = cost.prepare(results, results.costs)
    assert [panel.xlabel for panel in line] == ["parameters (M)", "GMACs", "training time (min)"]
    spot = next(spot for spot in line[0].spots if spot.row == 1)
    gains = results.delta_m[results.delta_m["row"] == 1]["delta_m"]
    assert spot.y == pytest.approx(gains.mean())
    assert spot.interval is not None
    assert spot.interval[0] < gains.min() < gains.max() < spot.interval[1]
    assert spot.x == pytest.approx(5.3)
    reference = set(results.rows.index[results.rows["role"] == "reference"])
    assert not any(spot.row in reference for panel in line for spot in panel.spots)


def test_without_a_baseline_each_task_has_a_line() -> None:
    results = make_results(candidates=3, baseline=False)
    lines = cost.prepare(results, results.costs)
    assert [line[0].ylabel for line in lines] == [
        "semseg mIoU ↑",
        "depth rmse ↓",
        "normals mErr ↓",
        "edge loss ↓",
    ]
    for spot in lines[1][0].front:
        assert not any(other.x <= spot.x and other.y < spot.y for other in lines[1][0].spots)
    (chart,) = cost.charts(results)
    drawn = chart.draw()
    assert drawn.axes[3].yaxis_inverted()
    assert not drawn.axes[0].yaxis_inverted()


def test_costs_of_many_sizes_have_plain_numbers_at_their_axis() -> None:
    results = make_results(candidates=3, seeds=1)
    wide = results.costs.assign(train_seconds=[6.0 * 30.0**i for i in range(len(results.costs))])
    (chart,) = cost.charts(replace(results, costs=wide))
    drawn = chart.draw()
    drawn.canvas.draw()
    (axes,) = [axes for axes in drawn.axes if axes.get_xscale() == "log"]
    texts = [label.get_text() for label in axes.get_xticklabels()]
    assert {"1", "10"} <= set(texts)
    assert all(float(text) > 0 for text in texts if text)


def test_printed_points_are_those_of_the_backbone() -> None:
    results = make_results(candidates=2, seeds=1)
    rows = results.rows.assign(backbone="hrnet18", dataset="nyud")
    named = replace(results, rows=rows, published=("degmix_table1_nyud",))
    (line,) = cost.prepare(named, named.costs)
    printed = {name: (x, y) for name, x, y in line[0].printed}
    assert printed["ATRC"] == (5.06, 1.56)
    assert "MQTransformer" not in printed
    assert line[1].printed == line[2].printed == ()  # counted on images of another size; never printed
    (chart,) = cost.charts(named)
    assert "degmix_table1_nyud" in chart.caption


def test_gains_by_task_have_delta_m_as_their_mean() -> None:
    results = make_results(candidates=4)
    found, _ = profile.prepare(results)
    for row, gains in found.shown.items():
        mean = results.delta_m[results.delta_m["row"] == row]["delta_m"].mean()
        assert np.mean(gains) == pytest.approx(mean)
    assert profile.charts(make_results(baseline=False)) == []
    many, note = profile.prepare(make_results(labels=tuple(f"m{i}" for i in range(30))))
    assert (len(many.shown), len(many.others)) == (8, 22)
    assert "8 of 30" in note


def test_leaving_a_task_out_is_compared_with_all_tasks() -> None:
    results = make_protocols(seeds=1)
    found = left_out.gains(results)
    wide = results.scores.set_index(["row", "task"])["value"]
    rows = results.rows
    whole = rows.index[(rows["protocol"] == "1.11")][0]
    subset = rows.index[(rows["protocol"] == "1.10")][0]
    (left,) = {"semseg", "depth", "normals", "edge"} - {*rows.at[subset, "trained"]}
    assert rows.at[whole, "trained"] == ("semseg", "depth", "normals", "edge")
    expected = 100 * (wide[whole, "depth"] - wide[subset, "depth"]) / wide[whole, "depth"]
    gains = found[(found["left_out"] == left) & (found["target"] == "depth")]["gain"]
    assert min(abs(gains - expected)) < 1e-9
    assert (found["left_out"] != found["target"]).all()
    assert [chart.name for chart in left_out.charts(results)] == ["left_out"]
    assert left_out.charts(make_results()) == []


def test_mean_cosines_are_symmetric() -> None:
    results = make_results(candidates=2, tasks=3)
    (first, _), tasks, _ = cosine_matrix.prepare(results)
    assert tasks == ("semseg", "depth", "normals")
    frame = results.cosines
    chosen = frame[(frame["row"] == 0) & (frame["task_a"] == "depth") & (frame["task_b"] == "normals")]
    assert first.values[1, 2] == first.values[2, 1] == pytest.approx(chosen["cosine"].mean())
    assert np.isnan(np.diag(first.values)).all()
    assert cosine_matrix.charts(make_results(candidates=2, tasks=2)) == []


def with_costs(results: Results, pixels: dict[int, int]) -> Results:
    """A network has 4 million parameters and one more for each task."""
    lines = []
    for row, trained, networks in zip(
        results.rows.index, results.rows["trained"], results.rows["networks"], strict=True
    ):
        millions = 5 * networks if networks > 1 else 4 + len(trained)
        lines.append((row, 0, 1e6 * millions, 1e9, 1e9, 60.0, 50.0, 500.0, pixels.get(row, 9000)))
    return replace(results, costs=pd.DataFrame(lines, columns=["row", "seed", *COSTS, "pixels"]))


def test_costs_grow_with_the_number_of_tasks() -> None:
    results = with_costs(make_protocols(seeds=1), {})
    found = growth.by_tasks(results)
    assert found.lines["DeGMix"]["parameters"].to_dict() == {2: 6.0, 3: 7.0, 4: 8.0}
    assert found.lines["DeGMix"]["milliseconds"].to_dict() == dict.fromkeys((2, 3, 4), 20.0)
    assert found.lines[growth.SEPARATE]["parameters"].to_dict() == {1: 5.0, 2: 10.0, 3: 15.0, 4: 20.0}
    (chart,) = growth.charts(results)
    assert chart.name == "growth_tasks"
    assert len(chart.draw().axes) == 4
    assert growth.charts(make_results()) == []


def test_costs_grow_with_the_pixels() -> None:
    results = make_results(candidates=2, seeds=1, labels=("DeGMix", "DeGMix"))
    rows = results.rows.assign(balancer="equal", dataset=["small", "large", "small", "small"])
    found = growth.charts(with_costs(replace(results, rows=rows), {0: 9000, 1: 36000}))
    assert [chart.name for chart in found] == ["growth_pixels"]
    line = growth.by_pixels(with_costs(replace(results, rows=rows), {0: 9000, 1: 36000})).lines["DeGMix"]
    assert list(line.index) == [9.0, 36.0]
