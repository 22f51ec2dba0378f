"""Comparisons of rows, against R and by what must hold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from results_factory import make_results, unfinished, without_seeds
from statistics_factory import NAN, scored

from mtlbench.statistics.paired import MOST_PAIRS, comparisons, holm, sign_flip

SLEEP = (
    [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0],
    [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4],
)
"""Student's data, of which R says: t.test(extra ~ group, sleep, paired = TRUE)."""


def test_paired_t_test_and_sign_flips_of_students_data() -> None:
    first, second = ([0.5 + x / 100 for x in values] for values in SLEEP)
    (line,) = comparisons(scored({"first": first, "second": second})).to_dict("records")
    assert (line["measure"], line["a"], line["b"], line["n"]) == ("semseg", 1, 0, 10)
    found = [line[name] for name in ("difference", "low", "high", "p")]
    assert found == pytest.approx([1.58, 0.7001142, 2.4598858, 0.002833], abs=1e-6)
    # No difference is negative and one is 0: of 2^10 signs, 2 give as much on either side.
    assert line["p_exact"] == pytest.approx(4 / 1024)
    assert line["smallest_p"] == 2 / 1024
    assert line["p_holm"] == line["p"]


def test_holm() -> None:
    # R: p.adjust(c(0.01, 0.04, 0.03, 0.02), "holm")
    assert holm(np.array([0.01, 0.04, 0.03, 0.02])) == pytest.approx([0.04, 0.06, 0.06, 0.06])
    adjusted = holm(np.array([0.2, np.nan, 0.6]))
    assert adjusted[[0, 2]] == pytest.approx([0.4, 0.6])
    assert np.isnan(adjusted[1])
    assert holm(np.array([0.9, 0.8])).max() == 1


@pytest.mark.parametrize("seeds", [2, 3, 5, 6, 14])
def test_the_exact_test_reaches_its_smallest_p(seeds: int) -> None:
    clear = np.linspace(1, 2, seeds)[None]
    assert sign_flip(clear)[0] == pytest.approx(max(2 / 2**seeds, 2 / 10000), rel=0.6 if seeds > 12 else 1e-9)
    assert sign_flip(clear - clear.mean())[0] == pytest.approx(1)


def test_positive_means_that_the_first_is_better_for_errors_too() -> None:
    results = make_results(candidates=4, seeds=3)
    frame = comparisons(results)
    assert (frame["difference"] >= 0).all()
    primary = results.scores[results.scores["primary"]].groupby(["task", "row"])["value"].mean()
    for line in frame[frame["measure"] != "delta_m"].to_dict("records"):
        gain = primary[line["measure"], line["a"]] - primary[line["measure"], line["b"]]
        scale = 100 if line["measure"] == "semseg" else 1
        sign = 1 if line["measure"] == "semseg" else -1
        assert line["difference"] == pytest.approx(sign * scale * gain)


def test_the_baseline_cancels_from_differences_of_delta_m() -> None:
    a, b = [0.50, 0.51, 0.52], [0.48, 0.50, 0.49]
    calm, wild = (
        comparisons(scored({"a": a, "b": b}, baseline=base)).set_index("measure").loc["delta_m"]
        for base in ([0.40, 0.40, 0.40], [0.40, 0.42, 0.38])
    )
    assert wild["high"] - wild["low"] < 1.3 * (calm["high"] - calm["low"])


def test_rows_are_compared_in_their_group_only_and_corrected_within_it() -> None:
    results = make_results(candidates=6, seeds=3)
    rows = results.rows.copy()
    rows.loc[rows.index[:3], "backbone"] = "hrnet18"
    frame = comparisons(replace(results, rows=rows))
    assert {(a < 3, b < 3) for a, b in zip(frame["a"], frame["b"], strict=True)} == {
        (True, True),
        (False, False),
    }
    assert (frame.groupby(["backbone", "measure"]).size() == 3).all()
    assert (frame["family"] == 3).all()


def test_one_seed_proves_nothing() -> None:
    frame = comparisons(make_results(candidates=3, seeds=1))
    assert len(frame)
    assert frame[["low", "high", "p", "p_holm", "p_exact", "smallest_p"]].isna().all(axis=None)


def test_pairs_count_their_common_seeds() -> None:
    rows = {"a": [0.5, 0.6, NAN, 0.7], "b": [0.4, NAN, 0.5, 0.5], "c": [NAN, NAN, 0.5, NAN]}
    frame = comparisons(scored(rows)).set_index(["a", "b"])
    assert frame.loc[(0, 1), "n"] == 2
    assert frame.loc[(0, 1), "difference"] == pytest.approx(15)
    assert {(0, 2), (2, 0)}.isdisjoint(frame.index), "no common seed"
    tied = [pair for pair in frame.index if 2 in pair]
    assert len(tied) == 1
    assert np.isnan(frame.loc[tied[0], "p"])


def test_equal_rows_and_equal_differences() -> None:
    frame = comparisons(scored({"a": [0.5, 0.6, 0.7], "b": [0.5, 0.6, 0.7], "c": [0.4, 0.5, 0.6]}))
    frame = frame.set_index(["a", "b"])
    assert frame.loc[(0, 1), ["p", "p_exact"]].tolist() == [1, 1]
    assert np.isnan(frame.loc[(0, 2), "p"]), "no noise to compare with"
    assert frame.loc[(0, 2), "p_exact"] == 0.25


def test_rows_that_lack_a_task_are_compared_in_the_others() -> None:
    results = make_results(candidates=3, seeds=3)
    rows = results.rows.copy()
    rows["trained"] = [("semseg", "depth"), *rows["trained"][1:]]
    frame = comparisons(replace(results, rows=rows))
    with_first = frame[(frame["a"] == 0) | (frame["b"] == 0)]
    assert set(with_first["measure"]) == {"semseg", "depth"}, "and not in delta_m"


def test_many_rows_are_compared_with_the_best_and_corrected_for_all() -> None:
    results = make_results(labels=tuple(f"m{i}" for i in range(60)), seeds=5, tasks=2)
    frame = comparisons(results)
    best = results.delta_m[results.delta_m["row"] < 60].groupby("row")["delta_m"].mean().idxmax()
    of_delta_m = frame[frame["measure"] == "delta_m"]
    assert len(of_delta_m) == 59 < MOST_PAIRS
    assert (of_delta_m["a"] == best).all()
    assert (of_delta_m["family"] == 60 * 59 / 2).all()
    smallest = of_delta_m.loc[of_delta_m["p"].idxmin()]
    assert smallest["p_holm"] > 59 * smallest["p"]


def test_scores_that_are_not_finite_or_not_there() -> None:
    results = make_results(candidates=3, seeds=3)
    scores = results.scores.copy()
    scores.loc[(scores["row"] == 0) & (scores["seed"] == 1), "value"] = NAN
    scores.loc[(scores["row"] == 1) & (scores["seed"] == 2), "value"] = float("inf")
    frame = comparisons(replace(results, scores=scores)).set_index(["measure", "a", "b"])
    assert set(frame["n"]) == {1, 2}
    assert comparisons(unfinished(results)).empty
    assert comparisons(make_results(candidates=1)).empty
    gone = without_seeds(results, 0, (0, 1, 2), "failed")
    assert not (comparisons(gone)[["a", "b"]] == 0).any(axis=None)


def test_columns_are_there_when_nothing_is() -> None:
    empty = comparisons(make_results(candidates=1))
    pd.testing.assert_index_equal(empty.columns, comparisons(make_results(candidates=2)).columns)
