"""Frames from the lines of histories, those of older runs too."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from mtlbench import histories
from mtlbench.histories import History, milliseconds_and_share, read_history

BEFORE = {
    "step": 1,
    "losses": {"a": 2.0, "b": 3.0, "c": 1.0},
    "weights": {"a": 0.5},
    "norms": {"a": 4.0, "b": 5.0},
    "cosines": [["a", "b", -0.5], ["a", "c", 0.5], ["b", "c", -0.1], ["b", "d", 0.0]],
}


def line(step: int, milliseconds: float, share: float, **more: Any) -> dict[str, Any]:
    cost = {"milliseconds": milliseconds, "share": share}
    return (
        BEFORE | {"step": step, "balancing": cost, "conflicts": 0.25, "condition": 7.0, "failures": 2} | more
    )


def test_lines_of_older_runs_have_what_they_have() -> None:
    read = [History(3, 1, "cell", [BEFORE])]
    (norms,) = histories.gradients(read).groupby("row")
    assert norms[1][["step", "task", "norm"]].to_numpy().tolist() == [[1, "a", 4.0], [1, "b", 5.0]]
    (found,) = histories.balancing(read).to_dict("records")
    assert found["conflicts"] == 0.5
    assert all(math.isnan(found[name]) for name in ("condition", "milliseconds", "share", "failures"))
    assert histories.balancers(read, {}).empty
    assert histories.losses(read)["weight"].isna().tolist() == [False, True, True]


def test_recorded_numbers_are_kept() -> None:
    read = [History(0, 0, "cell", [line(1, 5.0, 0.5), line(2, 5.0, 0.5, conflicts=None, condition=None)])]
    first, second = histories.balancing(read).to_dict("records")
    assert first == {
        "row": 0,
        "seed": 0,
        "step": 1,
        "conflicts": 0.25,
        "condition": 7.0,
        "milliseconds": 5.0,
        "share": 0.5,
        "failures": 2.0,
    }
    assert math.isnan(second["conflicts"])
    assert math.isnan(second["condition"])


def test_no_lines_make_empty_frames() -> None:
    for make in (histories.losses, histories.gradients, histories.cosines, histories.balancing):
        assert make([History(0, 0, "cell", [])]).empty


def test_a_line_that_is_being_written_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    assert read_history(path) == []
    path.write_text(json.dumps(BEFORE) + "\n" + '{"step": 2, "los')
    assert read_history(path) == [BEFORE]


def test_cost_is_the_median_after_the_first_step() -> None:
    lines = [line(1, 900.0, 0.9), line(2, 10.0, 0.2), line(4, 30.0, 0.5), line(6, 11.0, 0.25)]
    assert milliseconds_and_share(lines, 1) == pytest.approx((11.0, 0.25))


def test_cost_counts_steps_that_keep_weights() -> None:
    lines = [line(1, 900.0, 0.9), line(2, 2.0, 0.02), line(5, 100.0, 0.5), line(6, 2.0, 0.02)]
    milliseconds, share = milliseconds_and_share(lines, 4)
    assert milliseconds == pytest.approx((100 + 3 * 2) / 4)
    assert share == pytest.approx(26.5 / (26.5 + 100))  # the rest of a step takes 100 ms


@pytest.mark.parametrize(
    ("steps", "every"), [((1,), 1), ((1, 2, 4), 4), ((1, 5, 9), 4), ((), 1)], ids=lambda v: str(v)
)
def test_cost_that_was_not_measured_is_no_number(steps: tuple[int, ...], every: int) -> None:
    costs = milliseconds_and_share([line(step, 5.0, 0.5) for step in steps], every)
    assert all(math.isnan(cost) for cost in costs)
    assert all(math.isnan(cost) for cost in milliseconds_and_share([BEFORE | {"step": 3}], 1))


def test_free_balancers_cost_nothing() -> None:
    lines = [line(step, 0.0, 0.0) for step in range(1, 9)]
    assert milliseconds_and_share(lines, 1) == (0.0, 0.0)
    assert milliseconds_and_share(lines, 2) == (0.0, 0.0)
