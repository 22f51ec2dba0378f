"""Mean ranks, against the published example, and who is left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from mtlbench.reports.figures.ranks import caption, charts, draw
from results_factory import TASKS, Trained, make_results, results_of, unfinished, without_seeds
from scipy import stats

from mtlbench.results import Results
from mtlbench.statistics.ranking import critical_difference, range_quantile, ranks

C45 = {
    "C4.5": (763, 599, 954, 628, 882, 936, 661, 583, 775, 1000, 940, 619, 972, 957),
    "C4.5+m": (768, 591, 971, 661, 888, 931, 668, 583, 838, 1000, 962, 666, 981, 978),
    "C4.5+cf": (771, 590, 968, 654, 886, 916, 609, 563, 866, 1000, 965, 614, 975.01, 946),
    "C4.5+m+cf": (798, 569, 967, 657, 898, 931, 685, 625, 875, 1000, 962, 669, 975, 970),
}
"""Thousandths of areas under curves on 14 data sets: Demšar, JMLR 2006, table 6.

Two that print alike (975) have different ranks there.
"""


def over_data_sets(scores: Mapping[str, tuple[float, ...]], seeds: int = 1) -> Results:
    """A row for each method and data set, with one task, the same in each seed."""
    rows = [
        Trained("joint", (("semseg",),), {"semseg": [value] * seeds}, method=method, dataset=f"set{i}")
        for method, values in scores.items()
        for i, value in enumerate(values)
    ]
    return results_of(rows, TASKS[:1])


def test_the_published_example() -> None:
    found = ranks(over_data_sets(C45))
    assert found is not None
    assert len(found.problems) == 14
    mean = dict(zip(found.frame["name"].str.partition(" · ")[0], found.frame["rank"], strict=True))
    assert mean == pytest.approx(
        {"C4.5+m+cf": 1.964, "C4.5+m": 2.0, "C4.5+cf": 2.893, "C4.5": 3.143}, abs=5e-4
    )
    assert found.critical == pytest.approx(1.25, abs=0.005)
    assert found.p is not None
    assert found.p < 0.05
    # The paper: no two of them differ by as much.
    assert found.alike == ((0, 3),)


@pytest.mark.parametrize(("competitors", "q"), [(3, 2.343), (4, 2.569), (5, 2.728), (10, 3.164)])
def test_critical_differences_are_those_of_the_table(competitors: int, q: float) -> None:
    # Table 5 (a) of the same paper.
    expected = q * np.sqrt(competitors * (competitors + 1) / (6 * 30))
    assert critical_difference(competitors, 30) == pytest.approx(expected, rel=5e-4)


def test_who_is_far_apart_is_not_joined() -> None:
    rng = np.random.default_rng(0)
    level = {"a": 0.9, "b": 0.89, "c": 0.5, "d": 0.49}
    scores = {name: tuple(value + rng.normal(0, 0.02, 30)) for name, value in level.items()}
    found = ranks(over_data_sets(scores))
    assert found is not None
    assert found.alike == ((0, 1), (2, 3))


@pytest.mark.parametrize("competitors", [2, 10, 1000])
def test_quantiles_of_the_range(competitors: int) -> None:
    expected = stats.studentized_range.ppf(0.95, competitors, np.inf)
    assert range_quantile(0.95, competitors) == pytest.approx(expected, rel=1e-9)


def test_friedmans_test_where_some_tie() -> None:
    scores = {"a": (0.5, 0.6, 0.2), "b": (0.5, 0.4, 0.3), "c": (0.7, 0.4, 0.9), "d": (0.1, 0.4, 0.8)}
    found = ranks(over_data_sets(scores))
    assert found is not None
    assert found.p == pytest.approx(stats.friedmanchisquare(*scores.values()).pvalue)


def test_ties_share_their_rank_and_prove_nothing() -> None:
    found = ranks(over_data_sets(dict.fromkeys("abc", (0.5, 0.6)), seeds=2))
    assert found is not None
    assert found.p is None
    assert (found.frame["rank"] == 2).all()
    assert found.alike == ((0, 2),)
    assert "ties" in caption(found)


def test_a_score_that_lacks_leaves_the_setting_out() -> None:
    results = make_results(candidates=5, seeds=3)
    part = ranks(without_seeds(results, 1, (2,), "2 of 3"))
    assert part is not None
    assert 1 not in [row for rows in part.frame["rows"] for row in rows]
    assert [*part.left_out.values()] == ["lacks seeds in 4 of 4 problems"]
    rows = results.rows.copy()
    rows["trained"] = [("semseg", "depth"), *rows["trained"][1:]]
    untrained = ranks(replace(results, rows=rows))
    assert untrained is not None
    assert [*untrained.left_out.values()] == ["no score in 2 of 4 problems (normals, edge)"]
    assert len(untrained.frame) == 4


def test_too_few_have_no_ranks() -> None:
    assert ranks(make_results(candidates=2)) is None
    assert ranks(make_results(candidates=5, tasks=1)) is None
    results = make_results(candidates=4)
    assert ranks(unfinished(results)) is None
    two_left = without_seeds(without_seeds(results, 0, (0,), "2 of 3"), 1, (1,), "2 of 3")
    assert ranks(two_left) is None
    assert charts(two_left) == []


def test_settings_are_matched_over_backbones_whatever_the_recipe_is_called() -> None:
    results = make_results(candidates=6, seeds=2)
    rows = results.rows.copy()
    rows.loc[:5, "method"] = ["a", "b", "c"] * 2
    rows.loc[:5, "balancer"] = "equal"
    rows.loc[3:5, ["backbone", "recipe"]] = ["hrnet18", "long"]
    found = ranks(replace(results, rows=rows))
    assert found is not None
    assert dict(zip(found.frame["name"], found.frame["rows"], strict=True)) == {
        "a": (0, 3),
        "b": (1, 4),
        "c": (2, 5),
    }
    assert len(found.problems) == 8


def test_intervals_are_over_seeds() -> None:
    one, five = (ranks(make_results(candidates=4, seeds=n)) for n in (1, 5))
    assert one is not None
    assert five is not None
    assert one.frame[["low", "high"]].isna().all(axis=None)
    assert (five.frame["low"] <= five.frame["rank"]).all()
    assert (five.frame["high"] >= five.frame["rank"]).all()
    assert (five.frame["low"] < five.frame["high"]).any()


def test_the_figure_shows_the_first_and_says_so() -> None:
    found = ranks(make_results(labels=tuple(f"m{i}" for i in range(30)), seeds=2))
    assert found is not None
    (axes,) = draw(found).axes
    assert len(axes.get_yticks()) == 24
    assert axes.get_yticklabels()[0].get_text() == found.frame["name"][0]
    assert "first 24 of 30" in caption(found)
