"""The table: numbers against means computed here, ranks, and what an incomplete row may show."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO
from statistics import fmean, stdev

import pytest
from results_factory import UGLY, make_results, without_seeds
from rich.console import Console

from mtlbench.caption import caption
from mtlbench.entries import DASH, Entry, number, summarise
from mtlbench.results import Results
from mtlbench.table import Line, Table, tabulate
from mtlbench.terminal import print_table


def entry(table: Table, row: int, column: str) -> Entry:
    return next(line for line in table.lines if line.row == row).entries[table.index(column)]


def values(results: Results, row: int, task: str) -> list[float]:
    s = results.scores
    return list(s[(s["row"] == row) & (s["task"] == task) & s["primary"]]["value"])


def candidates(table: Table) -> list[Line]:
    return [line for line in table.lines if line.role == "candidate"]


def test_rows_come_as_reference_baseline_candidates() -> None:
    table = tabulate(make_results(candidates=3))
    assert [line.role for line in table.lines] == ["reference", "baseline", *["candidate"] * 3]
    assert [line.row for line in table.lines] == [4, 3, 0, 1, 2]


def test_labels_that_never_vary_leave_the_table() -> None:
    table = tabulate(make_results())
    assert [c.name for c in table.columns if c.kind == "label"] == ["method", "balancer"]
    assert table.shared["backbone"] == "efficientnet-lite0"
    assert table.shared["protocol"] == "joint"


def test_mean_and_sample_deviation_are_scaled() -> None:
    results = make_results()
    found = values(results, 1, "semseg")
    shown = entry(tabulate(results), 1, "semseg")
    assert shown.text == f"{100 * fmean(found):.2f} ± {100 * stdev(found):.2f}"
    assert shown.mean == pytest.approx(100 * fmean(found))
    assert shown.std == pytest.approx(100 * stdev(found))


def test_one_seed_has_no_deviation() -> None:
    results = make_results(seeds=1)
    shown = entry(tabulate(results), 0, "depth")
    assert (shown.std, shown.spread) == (None, "")
    assert "One seed (0): the spread over seeds is unknown." in caption(results)


@pytest.mark.parametrize(("task", "sign"), [("semseg", 1), ("depth", -1)])
def test_ranks_follow_the_metrics_direction(task: str, sign: int) -> None:
    results = make_results(candidates=6)
    table = tabulate(results)
    place = table.index(task)
    means = {row: sign * fmean(values(results, row, task)) for row in range(6)}
    best, second = sorted(means, key=means.__getitem__, reverse=True)[:2]
    ranks = {line.row: line.entries[place].rank for line in table.lines}
    assert {row: rank for row, rank in ranks.items() if rank} == {best: "best", second: "second"}


def test_baseline_is_not_ranked_even_where_it_is_best() -> None:
    results = make_results()
    scores = results.scores.copy()
    scores.loc[scores["row"] == 4, "value"] = 0.0
    table = tabulate(replace(results, scores=scores))
    assert entry(table, 4, "depth").rank is None
    assert "best" in {line.entries[table.index("depth")].rank for line in candidates(table)}


def test_equal_prints_share_a_rank() -> None:
    results = make_results(candidates=3)
    scores = results.scores.copy()
    scores.loc[(scores["task"] == "semseg") & scores["row"].isin([0, 1]), "value"] = 0.9
    ranks = [
        line.entries[tabulate(results).index("semseg")].rank
        for line in candidates(tabulate(replace(results, scores=scores)))
    ]
    assert ranks == ["best", "best", "second"]


def test_single_candidate_is_not_the_best_of_anything() -> None:
    table = tabulate(make_results(candidates=1))
    assert {e.rank for line in table.lines for e in line.entries} == {None}


def test_missing_seeds_are_counted_and_not_ranked() -> None:
    results = without_seeds(make_results(), 3, (2,), "1 of 3 seeds diverged")
    table = tabulate(results)
    shown = entry(table, 3, "semseg")
    assert shown.note == "2 of 3"
    assert shown.text.endswith("(2 of 3)")
    assert shown.mean == pytest.approx(100 * fmean(values(results, 3, "semseg")))
    assert {e.rank for e in next(line for line in table.lines if line.row == 3).entries} == {None}
    assert entry(table, 3, "state").value == "1 of 3 seeds diverged"
    assert "1 of 6 rows is incomplete" in caption(results)


def test_seeds_that_no_row_has_yet_count_too() -> None:
    results = make_results(seeds=2)
    table = tabulate(replace(results, captions=results.captions | {"seeds": "0, 1, 2"}))
    assert table.seeds == 3
    assert {line.entries[table.index("semseg")].note for line in table.lines} == {"2 of 3"}


def test_row_without_numbers_shows_dashes_and_its_state() -> None:
    table = tabulate(without_seeds(make_results(), 2, (0, 1, 2), "failed: out of memory"))
    line = next(line for line in table.lines if line.row == 2)
    numeric = [e.value for c, e in zip(table.columns, line.entries, strict=True) if c.numeric]
    assert set(numeric) == {DASH}
    assert line.entries[table.index("state")].value == "failed: out of memory"


def test_delta_m_needs_every_task() -> None:
    results = make_results()
    scores = results.scores.copy()
    scores.loc[(scores["row"] == 0) & (scores["task"] == "edge") & (scores["seed"] == 1), "value"] = float(
        "nan"
    )
    scores = scores[~((scores["row"] == 1) & (scores["task"] == "depth"))]
    table = tabulate(replace(results, scores=scores))
    assert entry(table, 0, "edge").note == "2 of 3"
    assert entry(table, 0, "delta_m").note == "2 of 3"
    assert entry(table, 1, "depth").value == DASH
    assert entry(table, 1, "delta_m").value == DASH
    assert entry(table, 1, "semseg").seeds == 3


def test_delta_m_has_its_sign_and_is_absent_without_baseline() -> None:
    table = tabulate(make_results(candidates=6))
    shown = [line.entries[table.index("delta_m")] for line in candidates(table)]
    assert all(e.value[0] == ("+" if e.mean > 0 else "−") for e in shown if e.mean)  # noqa: RUF001
    without = make_results(baseline=False)
    assert "delta_m" not in {c.name for c in tabulate(without).columns}
    assert "There is no baseline, so Δm is not given." in caption(without)


def test_ranks_stay_within_a_data_set() -> None:
    results = make_results(candidates=6, baseline=False, reference=False)
    rows = results.rows.copy()
    rows.loc[[1, 3, 5], "dataset"] = "nyud"
    table = tabulate(replace(results, rows=rows))
    assert [line.row for line in table.lines] == [0, 2, 4, 1, 3, 5]
    ranks = [line.entries[table.index("semseg")].rank for line in table.lines]
    assert (ranks[:3].count("best"), ranks[3:].count("best")) == (1, 1)


def test_costs_have_units_that_fit() -> None:
    results = make_results()
    table = tabulate(results)
    assert {"params (M)", "GMACs", "training (min)"} <= {c.heading for c in table.columns}
    assert entry(table, 4, "parameters").value == "21.2"
    assert entry(table, 4, "macs").value == "8.80"
    costs = results.costs.assign(macs=float("nan"))
    assert "macs" not in {c.name for c in tabulate(replace(results, costs=costs)).columns}


def test_number_and_summary() -> None:
    assert number(-0.004, 2) == "0.00"
    assert number(-1.5, 1) == "−1.5"  # noqa: RUF001
    assert number(1.5, 1, signed=True) == "+1.5"
    assert summarise([], 2, 3) == Entry(DASH)


def test_caption_names_what_the_numbers_depend_on() -> None:
    text = caption(make_results())
    for part in (
        "rooms (validation)",
        "n = 3 seeds (0, 1, 2)",
        "backbone efficientnet-lite0",
        "400 iterations of batch size 8",
        "scored: last",
        "semseg mIoU ↑ is miou.dataset.absent0",
        "depth rmse ↓ is depth.rmse.pixels",
        "T = 4",
        "single-task networks of the same backbone, recipe and seed",
        "128 x 160 pixels",
    ):
        assert part in text
    assert "not recorded" in caption(replace(make_results(), captions={}))


@pytest.mark.parametrize("width", [80, 100, 120, 160])
def test_terminal_table_fits_and_keeps_its_numbers(width: int) -> None:
    results = make_results(labels=(UGLY, "[b]x", "DeGMix"))
    console = Console(width=width, file=StringIO(), color_system=None)
    print_table(results, console)
    text = console.file.getvalue()
    assert max(map(len, text.splitlines())) <= width
    table = tabulate(results)
    for line in table.lines:
        for column, e in zip(table.columns, line.entries, strict=True):
            assert not column.numeric or (e.value in text and e.spread in text)
    assert "[b]x" in text
