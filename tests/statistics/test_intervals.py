"""Intervals of means and of delta_m, against R and against what simulation counts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from results_factory import TASKS, Trained, make_results, results_of, unfinished, without_seeds
from statistics_factory import NAN, scored

from mtlbench.errors import MtlbenchError
from mtlbench.statistics.delta_m import delta_m_intervals
from mtlbench.statistics.intervals import interval


def test_a_few_values_have_the_t_interval() -> None:
    found = interval([1, 2, 3, 4, 5])
    # R: t.test(1:5)
    assert (found.mean, found.low, found.high) == pytest.approx((3, 1.036757, 4.963243), abs=1e-6)
    assert (found.n, found.method) == (5, "t")


def test_from_ten_values_on_it_is_bootstrapped_the_same_way_each_time() -> None:
    values = list(np.random.default_rng(0).lognormal(0, 1, 30))
    found = interval(values)
    assert found.method == "bca"
    assert found == interval(values)
    assert found.low is not None
    assert found.high is not None
    assert found.high - found.mean > found.mean - found.low, "long tails to the right show"
    assert interval(values[:9]).method == "t"
    assert interval(values, method="t").method == "t"


def test_confidence_widens() -> None:
    narrow, wide = (interval([1, 2, 4], confidence) for confidence in (0.5, 0.99))
    assert wide.low < narrow.low < narrow.high < wide.high  # type: ignore[operator]


def test_one_value_has_none_and_equal_ones_no_width() -> None:
    assert (interval([7]).low, interval([7]).high, interval([7]).method) == (None, None, "none")
    for values in ([0.1] * 3, [0.1] * 12, [0.3, 0.1 + 0.2]):
        found = interval(values)
        assert found.low == found.high == found.mean
        assert found.method == "constant"


@pytest.mark.parametrize("values", [[], [1.0, NAN], [float("inf"), 1.0]])
def test_what_is_missing_is_for_the_caller_to_leave_out(values: list[float]) -> None:
    with pytest.raises(MtlbenchError, match="finite"):
        interval(values)
    with pytest.raises(MtlbenchError, match="confidence"):
        interval([1, 2], confidence=95)


def test_the_t_interval_holds_the_mean_as_often_as_it_says() -> None:
    draws = np.random.default_rng(1).normal(5, 2, (1500, 3))
    held = [(found := interval(list(d))).low <= 5 <= found.high for d in draws]  # type: ignore[operator]
    assert np.mean(held) == pytest.approx(0.95, abs=0.02)


def test_the_interval_of_delta_m_carries_the_noise_of_the_baseline() -> None:
    """Of 600 pairs of a row and its baseline, each on a backbone of its own, the baseline noisier."""
    rng = np.random.default_rng(2)
    rows, lines = [], []
    for i in range(600):
        baseline, row = 0.4 * (1 + 0.02 * rng.standard_normal(3)), 0.42 * (1 + 0.005 * rng.standard_normal(3))
        for role, values in ("baseline", baseline), ("candidate", row):
            scores = {"semseg": list(values)}
            rows.append(Trained("joint", (("semseg",),), scores, role=role, backbone=f"b{i}"))
        gains = 100 * (row / baseline - 1)
        lines += [(2 * i + 1, seed, gain) for seed, gain in enumerate(gains)]
    gained = pd.DataFrame(lines, columns=["row", "seed", "delta_m"])
    found = delta_m_intervals(replace(results_of(rows, TASKS[:1]), delta_m=gained))
    held = (found["low"] <= 5) & (found["high"] >= 5)
    assert len(held) == 600
    assert held.mean() == pytest.approx(0.95, abs=0.025)


def test_intervals_of_delta_m_in_the_odd_cases() -> None:
    results = make_results(candidates=3, seeds=3)
    found = delta_m_intervals(results).set_index("row")
    baseline = results.rows.index[results.rows["role"] == "baseline"][0]
    assert baseline not in found.index, "it is 0 by definition"
    assert (found["low"] < found["mean"]).all()
    assert (found["mean"] < found["high"]).all()
    one = delta_m_intervals(without_seeds(results, 0, (0, 1), "1 of 3")).set_index("row").loc[0]
    assert one["n"] == 1
    assert np.isnan(one["low"])
    assert np.isnan(one["high"])
    assert delta_m_intervals(make_results(baseline=False)).empty
    assert delta_m_intervals(unfinished(results)).empty


def test_a_seed_without_a_score_counts_for_nothing() -> None:
    results = scored({"a": [0.5, NAN, 0.52, 0.51]}, baseline=[0.4, 0.41, 0.4, NAN])
    (line,) = delta_m_intervals(results).to_dict("records")
    assert line["n"] == 2
    assert line["mean"] == pytest.approx(np.mean([25, 30]))
