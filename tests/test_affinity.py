"""Gains between networks that differ in one task, against numbers computed by hand."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest
from results_factory import Trained, make_protocols, make_results, results_of

from mtlbench.affinity import affinity, pairs

SEMSEG, DEPTH, EDGE = "semseg", "depth", "edge"
JOINT = ((SEMSEG, DEPTH),)
ALL = (SEMSEG, DEPTH, EDGE)
SINGLE = Trained(
    "", (ALL,), {SEMSEG: [0.40], DEPTH: [0.60], EDGE: [0.10]}, role="baseline", method="single", networks=3
)
TWO = Trained("1.1", JOINT, {SEMSEG: [0.42], DEPTH: [0.66]})
THREE = Trained("1.6", (ALL,), {SEMSEG: [0.378], DEPTH: [0.627], EDGE: [0.09]})


def gains(*rows: Trained) -> dict[tuple[str, str, str], float]:
    """(kind, source, target) -> mean."""
    found = affinity(pairs(results_of(rows)))
    keys = zip(found["kind"], found["source"], found["target"], strict=True)
    return dict(zip(keys, found["mean"], strict=True))


def test_gains_follow_the_metrics_direction() -> None:
    found = gains(SINGLE, TWO)
    assert found == {
        ("together", DEPTH, SEMSEG): pytest.approx(5.0),
        ("together", SEMSEG, DEPTH): pytest.approx(-10.0),
    }


def test_a_third_task_is_compared_with_the_pair_that_lacks_it_alone() -> None:
    assert gains(SINGLE, TWO, THREE) == {
        ("together", DEPTH, SEMSEG): pytest.approx(5.0),
        ("together", SEMSEG, DEPTH): pytest.approx(-10.0),
        ("together", EDGE, SEMSEG): pytest.approx(-10.0),
        ("together", EDGE, DEPTH): pytest.approx(5.0),
    }


def test_mean_spread_and_count_are_over_pairs_and_seeds() -> None:
    single = replace(SINGLE, scores={SEMSEG: [0.40, 0.50]}, stages=((SEMSEG, DEPTH),), networks=2)
    equal = replace(TWO, scores={SEMSEG: [0.42, 0.50]})
    other = replace(TWO, scores={SEMSEG: [0.44, 0.55]}, balancer="cagrad")
    (found,) = affinity(pairs(results_of([single, equal, other]))).to_dict("records")
    assert (found["source"], found["target"], found["pairs"]) == (DEPTH, SEMSEG, 4)
    assert found["mean"] == pytest.approx((5 + 0 + 10 + 10) / 4)
    assert found["std"] == pytest.approx(((1.25**2 + 6.25**2 + 2 * 3.75**2) / 3) ** 0.5)


def test_one_pair_has_no_spread() -> None:
    assert affinity(pairs(results_of([SINGLE, TWO])))["std"].isna().all()


def test_other_architectures_count_only_where_there_is_nothing_else() -> None:
    without = Trained("3.1", ((SEMSEG, EDGE),), {SEMSEG: [0.42], EDGE: [0.1]})
    found = affinity(pairs(results_of([SINGLE, TWO, without, THREE]))).set_index(["source", "target"])
    assert found.loc[(DEPTH, SEMSEG), "mean"] == pytest.approx(-10.0)  # and not with the +5 to the baseline
    assert found.loc[(SEMSEG, DEPTH), "mean"] == pytest.approx(-10.0)
    assert list(found.loc[(DEPTH, SEMSEG), ["pairs", "same_method"]]) == [1, True]
    assert list(found.loc[(SEMSEG, DEPTH), ["pairs", "same_method"]]) == [1, False]


def test_left_out_task_has_no_affinity_and_gives_some() -> None:
    without = Trained("3.1", JOINT, {SEMSEG: [0.40], DEPTH: [0.60], EDGE: [0.02]})
    assert gains(without, THREE) == {
        ("together", EDGE, SEMSEG): pytest.approx(-5.5),
        ("together", EDGE, DEPTH): pytest.approx(-4.5),
    }


def test_added_tasks_are_kept_apart_and_compared_with_their_own_base() -> None:
    base = replace(TWO, scores={SEMSEG: [0.42], DEPTH: [0.66]})
    twin = Trained("3.1", JOINT, {SEMSEG: [0.20], DEPTH: [0.20], EDGE: [0.5]})
    added = Trained("2.1", (*JOINT, ALL), {SEMSEG: [0.441], DEPTH: [0.594], EDGE: [0.1]}, base=0)
    assert gains(base, twin, added) == {
        ("added", EDGE, SEMSEG): pytest.approx(5.0),
        ("added", EDGE, DEPTH): pytest.approx(10.0),
    }
    assert gains(base, twin, replace(added, base=-1)) == {}


def test_two_tasks_added_at_once_are_nobodys_gain() -> None:
    base = Trained("a", ((SEMSEG,),), {SEMSEG: [0.42]})
    assert gains(base, replace(THREE, stages=((SEMSEG,), ALL), base=0)) == {}


def test_a_network_of_one_task_is_the_methods_own_where_there_is_one() -> None:
    own = Trained("semseg", ((SEMSEG,),), {SEMSEG: [0.84]}, balancer="cagrad")
    best = Trained("semseg", ((SEMSEG,),), {SEMSEG: [0.21]})
    other = Trained("semseg", ((SEMSEG,),), {SEMSEG: [0.1]}, method="PAD-Net")
    place = ("together", DEPTH, SEMSEG)
    assert gains(SINGLE, own, other, TWO)[place] == pytest.approx(-50)
    assert gains(SINGLE, own, best, TWO)[place] == pytest.approx(100)
    assert gains(SINGLE, other, TWO)[place] == pytest.approx(5)
    assert gains(other, TWO) == {}
    found = pairs(results_of([SINGLE, own, TWO]))
    assert dict(zip(found["target"], found["same_method"], strict=True)) == {SEMSEG: True, DEPTH: False}


def test_settings_do_not_mix() -> None:
    for change in ({"backbone": "HRNet18"}, {"dataset": "nyud"}):
        assert gains(SINGLE, replace(TWO, **change)) == {}  # type: ignore[arg-type]
        assert ("together", EDGE, SEMSEG) not in gains(SINGLE, TWO, replace(THREE, **change))  # type: ignore[arg-type]
    for change in ({"method": "PAD-Net"}, {"balancer": "cagrad"}):
        assert gains(TWO, replace(THREE, **change)) == {}  # type: ignore[arg-type]


def test_seeds_are_paired() -> None:
    results = results_of([SINGLE, TWO])
    scores = results.scores.assign(seed=results.scores["row"])
    assert pairs(replace(results, scores=scores)).empty


def test_the_same_network_under_two_labels_counts_once() -> None:
    again = [replace(TWO, cells=("same",)), replace(TWO, protocol="joint", cells=("same",))]
    assert len(pairs(results_of([SINGLE, *again]))) == 2


def test_missing_numbers_stay_missing() -> None:
    spoilt = replace(TWO, scores={SEMSEG: [float("nan")], DEPTH: [0.66]})
    assert set(gains(SINGLE, spoilt)) == {("together", SEMSEG, DEPTH)}
    zero = replace(SINGLE, scores={SEMSEG: [0.0], DEPTH: [0.60]})
    assert set(gains(zero, TWO)) == {("together", SEMSEG, DEPTH)}
    assert gains(replace(SINGLE, role="reference"), TWO) == {}


def test_ordinary_grids_compare_joint_networks_of_two_tasks_with_the_baseline() -> None:
    results = make_results(candidates=1, seeds=3, tasks=2)
    found = pairs(results).groupby("seed")["gain"].mean()
    given = results.delta_m[results.delta_m["row"] == 0].set_index("seed")["delta_m"]
    pd.testing.assert_series_equal(found, given, check_names=False)
    assert pairs(make_results(candidates=1, tasks=4)).empty


def test_all_sets_of_four_tasks() -> None:
    found = affinity(pairs(make_protocols(seeds=2)))
    together = found[found["kind"] == "together"]
    # Smaller networks for s -> t: {t, u} and {t, v}, each below a set of three and a network that left out
    # the fourth task; {t, u, v}, and the network that left out s. The baseline is another architecture.
    assert len(together) == 12
    assert set(together["pairs"]) == {2 * (4 + 2)}
    assert found["same_method"].all()
    assert set(found[found["kind"] == "added"]["pairs"]) == {2}
