"""Intervals, comparisons and ranks as tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from mtlbench.entries import DASH, Entry, decimals_for, number
from mtlbench.results import Results
from mtlbench.statistics.delta_m import delta_m_intervals
from mtlbench.statistics.groups import (
    COMPARED_WITHIN,
    DELTA_M,
    Group,
    groups,
    measure,
    measures,
    ranking,
    row_names,
)
from mtlbench.statistics.paired import comparisons
from mtlbench.statistics.ranking import ranks
from mtlbench.table import Column, Line, Table

MOST_LINES = 40
"""Comparisons that a printed table has of one group; the CSV file has all."""


_Kind = Literal["label", "metric", "delta_m"]


@dataclass(frozen=True)
class Section:
    """A table with its heading, and what must be said under it."""

    name: str
    heading: str
    table: Table
    explanation: str


def sections(results: Results) -> list[Section]:
    """Those that there are numbers for; none with one seed, which leaves all of them unknown."""
    made = (_intervals(results), _comparisons(results), _ranks(results))
    return [section for section in made if section is not None]


def pairs(results: Results) -> pd.DataFrame:
    """`comparisons` with the names of the rows, without pairs of fewer than two common seeds."""
    frame, names = comparisons(results), row_names(results)
    frame = frame[frame["n"] > 1]
    columns = {f"{side}_name": [names[row] for row in frame[side]] for side in ("a", "b")}
    return frame.assign(**columns)


def _intervals(results: Results) -> Section | None:
    frame = delta_m_intervals(results)
    frame = frame[frame["n"] > 1]
    if frame.empty:
        return None
    names, roles = row_names(results), results.rows["role"]
    lines = [
        [
            Entry(names[row]),
            Entry(number(mean, 2, signed=True), mean=mean),
            _span(low, high, 2),
            Entry(str(n), mean=float(n)),
        ]
        for row, mean, low, high, n in frame[["row", "mean", "low", "high", "n"]].itertuples(index=False)
    ]
    blocks = [(str(results.rows.loc[row, "dataset"]), str(roles[row])) for row in frame["row"]]
    columns: list[tuple[str, _Kind]] = [
        ("row", "label"),
        ("Δm (%)", "delta_m"),
        ("95 % interval", "metric"),
        ("seeds", "metric"),
    ]
    return Section(
        "intervals",
        "Intervals of Δm",
        _table(columns, lines, blocks),
        "Student's t interval of the mean over seeds, each seed against the baseline of the same seed: the "
        "baseline's noise is part of it. All rows share that noise, so whether two intervals overlap says "
        "nothing about the two rows; their comparison does.",
    )


def _comparisons(results: Results) -> Section | None:
    """In delta_m, or in the tasks where there is none."""
    names, lines, blocks, cut = row_names(results), [], [], False
    decimals = {m.name: 2 if m.name == DELTA_M else decimals_for(m.values.max()) for m in measures(results)}
    for group in groups(results):
        frame, whole = _of_group(results, group)
        cut |= not whole
        for line in frame.to_dict("records"):
            places = decimals[line["measure"]]
            values = [
                Entry("Δm" if line["measure"] == DELTA_M else line["measure"]),
                Entry(names[line["a"]]),
                Entry(names[line["b"]]),
                Entry(number(line["difference"], places, signed=True), mean=line["difference"]),
                _span(line["low"], line["high"], places),
                *(_p(line[name]) for name in ("p", "p_holm", "p_exact")),
                Entry(str(line["n"]), mean=float(line["n"])),
            ]
            lines.append(values)
            blocks.append((" · ".join(group.labels), line["measure"]))
    if not lines:
        return None
    texts = "measure", "row", "and"
    numbers = "difference", "95 % interval", "p (t)", "p (Holm)", "p (exact)", "seeds"
    columns: list[tuple[str, _Kind]] = [(name, "label") for name in texts]
    columns += [(name, "metric") for name in numbers]
    return Section("comparisons", "Comparisons", _table(columns, lines, blocks), _explain(results, cut))


def _of_group(results: Results, group: Group) -> tuple[pd.DataFrame, bool]:
    """Its pairs in delta_m, best row first, or in all tasks; whether these are all of them."""
    frame = comparisons(results)
    same = (frame[[*COMPARED_WITHIN]].astype(str) == list(group.labels)).all(axis=1)
    frame = frame[same & (frame["n"] > 1)]
    if (frame["measure"] == DELTA_M).any():
        frame = frame[frame["measure"] == DELTA_M]
    if len(frame) <= MOST_LINES:
        return frame, True
    with_best = []
    for name, of_measure in frame.groupby("measure", sort=False):
        found = measure(results, str(name))
        best = ranking(found, group.candidates)[0] if found else -1
        with_best.append(of_measure[(of_measure["a"] == best) | (of_measure["b"] == best)])
    return pd.concat(with_best).sort_values("p", kind="stable").head(MOST_LINES), False


def _explain(results: Results, cut: bool) -> str:
    frame = pairs(results)
    smallest, n = frame["smallest_p"].max(), int(frame["n"].min())
    said = [
        "Difference of two rows on their common seeds, positive: the first is better. p (t): paired t test; "
        "p (Holm): the same after Holm's correction over all pairs of one group (data set, backbone, tuning, "
        "recipe) in one measure; p (exact): sign-flip permutation test, uncorrected.",
    ]
    if smallest > 0.05:
        said.append(f"With {n} seeds the exact test can't go below {smallest:.3g}, whatever the difference.")
    if cut:
        said.append("Only comparisons with the best row are printed; statistics.csv has more.")
    return " ".join(said)


def _ranks(results: Results) -> Section | None:
    found = ranks(results)
    if found is None:
        return None
    lines = [
        [Entry(name), Entry(number(rank, 2), mean=rank), _span(low, high, 2, signed=False)]
        for name, rank, low, high in found.frame[["name", "rank", "low", "high"]].itertuples(index=False)
    ]
    columns: list[tuple[str, _Kind]] = [
        ("setting", "label"),
        ("mean rank", "metric"),
        ("95 % interval", "metric"),
    ]
    seeds = "The interval is over seeds."
    if found.seeds == 1:
        seeds = "With one seed, these are ranks of the networks that were trained, not of their settings."
    left = "".join(f" Left out: {name} ({why})." for name, why in found.left_out.items())
    p = "all scores are ties" if found.p is None else f"Friedman's test p = {found.p:.3g}"
    return Section(
        "ranks",
        "Mean ranks",
        _table(columns, lines, [("", "")] * len(lines)),
        f"Over {len(found.problems)} problems, each a task of a data set and backbone; 1 is best; {p}; "
        f"Nemenyi's critical difference at 5 % is {found.critical:.2f}. {seeds} The tasks of one network are "
        f"not independent problems, so both tests claim too much certainty.{left}",
    )


def _table(
    columns: Sequence[tuple[str, _Kind]], lines: Sequence[Sequence[Entry]], blocks: Sequence[tuple[str, str]]
) -> Table:
    return Table(
        columns=tuple(Column(heading, heading, kind) for heading, kind in columns),
        lines=tuple(
            Line(row=-1, role="", state="done", block=block, entries=tuple(entries))
            for entries, block in zip(lines, blocks, strict=True)
        ),
        shared={},
        seeds=0,
    )


def _span(low: float, high: float, decimals: int, *, signed: bool = True) -> Entry:
    if not (math.isfinite(low) and math.isfinite(high)):
        return Entry(DASH)
    ends = (number(end, decimals, signed=signed) for end in (low, high))
    return Entry(" to ".join(ends), mean=low)


def _p(p: float) -> Entry:
    if not math.isfinite(p):
        return Entry(DASH)
    return Entry("< 0.001" if p < 0.001 else f"{p:.3f}", mean=p)
