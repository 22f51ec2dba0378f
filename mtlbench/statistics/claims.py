"""Whether the best row is better than the second, in words."""

from __future__ import annotations

import math

import pandas as pd

from mtlbench.entries import decimals_for, number
from mtlbench.results import Results
from mtlbench.statistics.groups import DELTA_M, Group, measure, ranking, row_names
from mtlbench.statistics.paired import comparisons
from mtlbench.statistics.words import of_seeds, p_text, span

ONE_SEED = "One seed: no claim that one is better can be made."
LEVEL = 0.05
"""Of p-values."""
ENOUGH = 6
"""Seeds from which on the exact test can get below `LEVEL`: its smallest p is 2/2^n."""


def margin(results: Results, group: Group, name: str, leader: int) -> list[str]:
    """By how much a row leads in a measure over the second, and what that proves; nothing for a row alone."""
    found, names = measure(results, name), row_names(results)
    second = next((row for row in ranking(found, group.candidates) if row != leader), None) if found else None
    if found is None or second is None:
        return []
    pair = _pair(results, name, leader, second)
    if pair is None:
        return [f"{names[leader]} and the second, {names[second]}, have no seed in common."]
    n = int(pair["n"])
    unit, where = ("points", "") if name == DELTA_M else (_heading(results, name), f" in {name}")
    decimals = 2 if name == DELTA_M else decimals_for(found.values.mean(axis=1))
    ahead = f"{number(pair['difference'], decimals)} {unit} ahead{where} of the second, {names[second]}"
    if n < 2:
        return [f"{names[leader]} is {ahead}; with one seed, how much of that is chance is unknown."]
    tests = (
        f"{span(pair['low'], pair['high'], decimals)}; paired t test {p_text(pair['p'])}, "
        f"{_adjusted(pair)}exact test {p_text(pair['p_exact'])}; {of_seeds(n)}"
    )
    said = [f"{names[leader]} is {ahead} ({tests}).", verdict(pair), *_others(results, name, leader)]
    return [" ".join(said)]


def _heading(results: Results, task: str) -> str:
    return next(found.heading for found in results.tasks if found.name == task)


def verdict(pair: pd.Series) -> str:
    """What may be said of a pair that has at least two seeds."""
    n, p, exact = int(pair["n"]), float(pair["p_holm"]), float(pair["p_exact"])
    cannot = f"the exact test can't go below p = {pair['smallest_p']:.3g} with {n} seeds"
    if math.isfinite(p) and p < LEVEL:
        if n < ENOUGH:
            return f"The t test supports the claim that it is better, if noise is normal; {cannot}."
        if exact < LEVEL:
            return "Both tests support the claim that it is better."
        return "Only the t test supports the claim that it is better; the exact test does not."
    limit = f"; {cannot}" if n < ENOUGH else ""
    return f"That is not enough to claim that it is better{limit}."


def _adjusted(pair: pd.Series) -> str:
    if not math.isfinite(pair["p_holm"]) or pair["family"] < 2:
        return ""
    return f"{p_text(pair['p_holm'])} after Holm's correction for {pair['family']} pairs, "


def _pair(results: Results, name: str, leader: int, second: int) -> pd.Series | None:
    """The line of two rows, counted from the leader's side: on common seeds alone it may be behind."""
    frame = comparisons(results)
    rows = {leader, second}
    either = (frame["measure"] == name) & frame["a"].isin(rows) & frame["b"].isin(rows)
    if not either.any():
        return None
    line = frame[either].iloc[0]
    if line["a"] == leader:
        return line
    turned = line.copy()
    turned[["difference", "low", "high"]] = [-line["difference"], -line["high"], -line["low"]]
    return turned


def _others(results: Results, name: str, leader: int) -> list[str]:
    """How many other rows the leader is told apart from."""
    frame = comparisons(results)
    frame = frame[(frame["measure"] == name) & ((frame["a"] == leader) | (frame["b"] == leader))]
    if len(frame) < 2:
        return []
    apart = int(((frame["p_holm"] < LEVEL) & (frame["a"] == leader)).sum())
    return [f"After correction it is told apart from {apart} of {len(frame)} other rows."]
