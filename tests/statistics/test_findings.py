"""What is said, and above all what is not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from results_factory import UGLY, make_results, unfinished, without_seeds
from statistics_factory import NAN, scored

from mtlbench.statistics.claims import ONE_SEED
from mtlbench.statistics.findings import findings


def noisy(level: float, seeds: int, seed: int, sd: float = 0.002) -> list[float]:
    return list(level + np.random.default_rng(seed).normal(0, sd, seeds))


def test_one_seed_makes_no_claim() -> None:
    said = findings(make_results(candidates=4, seeds=1))
    assert said[0] == ONE_SEED
    text = " ".join(said[1:])
    for claim in ("interval", "test", "p =", "better than", "support"):
        assert claim not in text, claim


def test_a_clear_lead_over_enough_seeds_is_a_claim() -> None:
    rows = {"good": noisy(0.5, 8, 1), "bad": noisy(0.45, 8, 2)}
    first, second, *_ = findings(scored(rows, baseline=noisy(0.4, 8, 3)))
    assert first.startswith("good has the highest Δm of 2 rows: +2")
    assert "better than single task" in first
    assert "Both tests support the claim that it is better." in second
    assert "second, bad" in second


def test_a_clear_lead_over_few_seeds_hangs_on_normal_noise() -> None:
    rows = {"good": noisy(0.5, 3, 1), "bad": noisy(0.4, 3, 2)}
    text = " ".join(findings(scored(rows, baseline=noisy(0.4, 3, 3))))
    assert "supports the claim that it is better, if noise is normal" in text
    assert "can't go below p = 0.25 with 3 seeds" in text
    assert "Both tests" not in text


def test_a_small_lead_is_no_claim() -> None:
    rows = {"a": noisy(0.5, 6, 1, 0.02), "b": noisy(0.499, 6, 2, 0.02), "c": noisy(0.498, 6, 4, 0.02)}
    text = " ".join(findings(scored(rows, baseline=noisy(0.5, 6, 3, 0.02))))
    assert "not enough to claim that it is better" in text
    assert "is open" in text
    assert "support" not in text


def test_outliers_that_only_the_t_test_trusts() -> None:
    """Five seeds in favour and one against, all but the last alike."""
    rows = {"a": [0.51, 0.512, 0.511, 0.513, 0.509, 0.5], "b": [0.5, 0.5, 0.5, 0.5, 0.5, 0.5001]}
    text = " ".join(findings(scored(rows, baseline=[0.4, 0.41, 0.4, 0.41, 0.4, 0.41])))
    assert "Only the t test supports the claim" in text


def test_other_leaders_costs_and_the_constant_predictor() -> None:
    results = make_results(candidates=4, seeds=3)
    scores = results.scores.copy()
    scores.loc[(scores["row"] == 1) & (scores["task"] == "edge") & scores["primary"], "value"] = 99.0
    text = " ".join(findings(replace(results, scores=scores)))
    assert "which sees no image: in edge 1 row (DeGMix · uncertainty)." in text
    assert "Other rows have better means: " in text
    assert "beside Single task: " in text
    assert "% less)" in text


def test_incomplete_rows_are_named_and_many_counted() -> None:
    results = without_seeds(make_results(labels=("a", UGLY), seeds=3), 1, (2,), "2 of 3 cells done")
    (line,) = [line for line in findings(results) if "incomplete" in line]
    assert line == f"1 of 4 rows is incomplete: {UGLY} · uncertainty (2 of 3 cells done)."
    assert findings(unfinished(make_results(candidates=9)))[-1].endswith("and 6 more.")


def test_the_leader_has_every_seed() -> None:
    rows = {"lucky": [0.9, NAN, NAN], "steady": [0.5, 0.51, 0.52]}
    assert findings(scored(rows, baseline=[0.4, 0.4, 0.41]))[0].startswith("steady has the highest Δm")


def test_without_a_baseline_tasks_stand_for_themselves() -> None:
    said = findings(make_results(candidates=3, seeds=3, baseline=False))
    assert said[0] == "There is no Δm: no baseline."
    assert sum("ahead in" in line for line in said) == 4


def test_sentences_say_which_group_they_are_about() -> None:
    results = make_results(candidates=6, seeds=3)
    rows = results.rows.copy()
    rows.loc[:2, "backbone"] = "hrnet18"
    said = findings(replace(results, rows=rows))
    assert all(line.startswith(("rooms, hrnet18: ", "rooms, efficientnet-lite0: ")) for line in said)


@pytest.mark.parametrize("candidates", [0, 1])
def test_nothing_to_compare(candidates: int) -> None:
    said = findings(make_results(candidates=candidates, seeds=2))
    assert not [line for line in said if "second" in line or "highest" in line]
    assert bool(said) == bool(candidates)
