"""How much better scores are than a baseline's."""

from __future__ import annotations

from collections.abc import Mapping


def delta_m(
    scores: Mapping[str, float], baseline: Mapping[str, float], higher_is_better: Mapping[str, bool]
) -> float:
    """Mean relative gain over the baseline in percent, positive = better (Vandenhende et al., TPAMI 2021).

    100 / T sum_t s_t (M_t - B_t) / B_t, with s_t = 1 where higher is better, else -1. All tasks of
    `higher_is_better` must be in both; a missing one raises KeyError, so that no mean over fewer tasks passes
    for the whole.
    """
    gains = [
        (1 if higher else -1) * (scores[task] - baseline[task]) / baseline[task]
        for task, higher in higher_is_better.items()
    ]
    return 100 * sum(gains) / len(gains)
