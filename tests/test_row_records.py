"""What rows were trained on, and why they are incomplete, from records of grids of any age."""

from __future__ import annotations

from typing import Any

import pytest

from mtlbench.row_records import complete, rows_frame
from mtlbench.spec import Cell, Choice, Recipe, Start
from mtlbench.store import CellRecord

BASE = Cell(
    dataset=Choice(name="tiny"),
    tasks=("semseg",),
    backbone=Choice(name="tiny"),
    method=Choice(name="net"),
    balancer=Choice(name="equal"),
)
ADDED = BASE.model_copy(update={"tasks": ("semseg", "depth"), "start": Start(cell=BASE)})
LAST = ADDED.model_copy(update={"recipe": Recipe(lr=0.5), "start": Start(cell=ADDED)})
STAGES = [["semseg"], ["semseg", "depth"], ["semseg", "depth"]]


def row(*cells: Cell, stages: list[list[str]], **changes: Any) -> dict[str, Any]:
    axes = ("dataset", "backbone", "method", "balancer", "tuning", "recipe")
    trained = stages[-1]
    return {
        "role": "candidate",
        "labels": {**dict.fromkeys(axes, "x"), "protocol": f"{len(stages)} stages"},
        "tasks": trained,
        "trained": trained,
        "stages": stages,
        "cells": {str(seed): [cell.id] for seed, cell in enumerate(cells)},
        "skipped": None,
        **changes,
    }


def records(**states: str) -> dict[str, CellRecord]:
    cells = {"base": BASE, "added": ADDED, "last": LAST}
    return {
        cells[name].id: CellRecord(id=cells[name].id, state=state, cell_json=cells[name].model_dump_json())
        for name, state in states.items()
    }


ROWS = [
    row(BASE, stages=STAGES[:1]),
    row(ADDED, stages=STAGES[:2]),
    row(LAST, stages=STAGES),
]


def test_old_records_had_one_stage_for_all_tasks() -> None:
    old = {key: value for key, value in ROWS[1].items() if key not in ("trained", "stages")}
    (found,) = rows_frame([complete(old)], {}).to_dict("records")
    assert found["evaluated"] == found["trained"] == ("semseg", "depth")
    assert found["stages"] == (("semseg", "depth"),)
    assert (found["networks"], found["base"], found["state"]) == (1, -1, "0 of 1 cells done")


def test_rows_know_the_row_that_they_go_on_from() -> None:
    frame = rows_frame(ROWS, records(base="done", added="done", last="done"))
    assert list(frame["base"]) == [-1, 0, 1]
    assert list(frame["state"]) == ["done"] * 3
    assert list(rows_frame(ROWS[1:], records(base="done", added="done", last="done"))["base"]) == [-1, 0]
    assert frame["cells"][2] == (LAST.id,)


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ({"base": "failed", "added": "new", "last": "new"}, ["1 of 1 cells failed", *["blocked"] * 2]),
        ({"base": "failed"}, ["1 of 1 cells failed", *["blocked"] * 2]),
        ({"base": "done", "added": "failed"}, ["done", "1 of 1 cells failed", "blocked"]),
        ({"base": "done", "added": "done", "last": "failed"}, ["done", "done", "1 of 1 cells failed"]),
        ({"base": "done", "added": "running"}, ["done", "0 of 1 cells done", "0 of 1 cells done"]),
    ],
)
def test_rows_behind_a_failed_base_are_blocked(states: dict[str, str], expected: list[str]) -> None:
    found = [
        state.removesuffix(": its base failed") for state in rows_frame(ROWS, records(**states))["state"]
    ]
    assert found == expected


def test_seeds_that_are_blocked_are_counted() -> None:
    other = BASE.model_copy(update={"seed": 1})
    base, added = row(BASE, other, stages=STAGES[:1]), row(ADDED, ADDED, stages=STAGES[:2])
    added["cells"]["1"] = ["never made"]
    cells = records(base="done", added="failed")
    cells[other.id] = CellRecord(id=other.id, state="failed", cell_json=other.model_dump_json())
    frame = rows_frame([base, added], cells)
    assert frame["state"][1] == "1 of 2 cells failed; 1 of 2 blocked: base failed"


def test_other_methods_failures_block_nothing() -> None:
    labels = {**ROWS[0]["labels"], "method": "other"}
    frame = rows_frame([{**ROWS[0], "labels": labels}, ROWS[1]], records(base="failed"))
    assert frame["state"][1] == "0 of 1 cells done"


def test_single_task_rows_have_several_networks() -> None:
    single = row(BASE, stages=[["semseg", "depth"]], cells={"0": ["a", "b"]}, skipped=None)
    assert rows_frame([single], {})["networks"][0] == 2
    skipped = row(stages=[["semseg"]], skipped="no heads")
    assert rows_frame([skipped], {})["state"][0] == "skipped: no heads"


def test_a_row_is_compared_with_the_baseline_of_its_place() -> None:
    def at(backbone: str, role: str) -> dict[str, Any]:
        made = row(BASE, stages=[["semseg"]], role=role)
        return {**made, "labels": {**made["labels"], "backbone": backbone}}

    rows = [at("a", "candidate"), at("a", "baseline"), at("b", "baseline"), at("b", "candidate")]
    frame = rows_frame([*rows, at("c", "candidate")], {})
    assert list(frame["baseline"]) == [1, 1, 2, 2, -1]


def test_a_row_without_a_baseline_of_its_tuning_has_that_of_another() -> None:
    def of(role: str, tuning: str, backbone: str = "x") -> dict[str, Any]:
        made = row(BASE, stages=STAGES[:1], role=role)
        return made | {"labels": made["labels"] | {"tuning": tuning, "backbone": backbone}}

    rows = [
        of("baseline", "full"),
        of("candidate", "lora"),
        of("candidate", "decoder"),
        of("baseline", "decoder"),
        of("candidate", "lora", "other"),
    ]
    assert list(rows_frame(rows, {})["baseline"]) == [0, 0, 3, 3, -1]
