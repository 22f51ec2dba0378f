"""Pages about cells: what is read from run folders, and how the HTML page holds it."""

from __future__ import annotations

import gzip
import json
from base64 import b64decode
from typing import Any

import pytest
from mtlbench.reports.html_cells import BLOCK, cells
from mtlbench.reports.html_packing import compact, script_json
from pages_factory import DONE, FAILED, LATER, MESSAGE, NEW, TRACEBACK, make_pages
from results_factory import make_results

from mtlbench import cell_pages
from mtlbench.cell_pages import CellPage, CellPages, thinned
from mtlbench.results import Results

BASE = LATER.lineage[0]


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> CellPages:
    return make_pages(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def found(pages: CellPages) -> dict[str, CellPage]:
    return {page.id: page for page in pages}


def results_with(pages: CellPages) -> Results:
    made = make_results(candidates=1, seeds=1, tasks=1, baseline=False, reference=False)
    return Results(**{**vars(made), "pages": pages})


def unpacked(results: Results) -> tuple[list[list[Any]], list[dict[str, Any]]]:
    made = cells(results, {0: "first <row>", 1: "second"})
    details = [json.loads(gzip.decompress(b64decode(block))) for block in made.blocks]
    assert all(len(block) <= BLOCK for block in details)
    return made.index, [cell for block in details for cell in block]


def test_every_cell_of_the_rows_has_a_page_and_so_has_what_comes_before(found: dict[str, CellPage]) -> None:
    states = {id: (page.state, page.row, page.seed) for id, page in found.items()}
    assert states == {
        DONE.id: ("done", 0, 0),
        FAILED.id: ("failed", 0, 1),
        NEW.id: ("new", 0, 7),
        LATER.id: ("done", 1, 0),
        BASE.id: ("done", -1, 5),
    }
    assert found[DONE.id].plugins == ("mine.py",)
    assert found[DONE.id].log.endswith("last line </pre>")


def test_histories_are_thinned_to_their_ends(found: dict[str, CellPage]) -> None:
    steps = [line["step"] for line in found[DONE.id].history]
    assert (steps[0], steps[-1], len(steps)) == (1, 200, 60)
    assert sorted(set(steps)) == steps


def test_a_line_that_was_cut_off_is_left_out() -> None:
    lines = ['{"step": 1}\n', "\0\0\n", '{"step": 3}\n', '{"st']
    assert [line["step"] for line in thinned(lines, 60)] == [1, 3]


def test_specs_say_what_a_row_stands_for(pages: CellPages) -> None:
    specs = pages.specs()
    assert specs[0].seeds == (0, 1, 7)
    assert [cell.id for cell in specs[0].cells] == [DONE.id]
    assert [cell.id for cell in specs[1].cells] == [LATER.id]
    assert CellPages().specs() == {}


def test_failed_cells_come_first_with_their_tracebacks(pages: CellPages) -> None:
    index, details = unpacked(results_with(pages))
    assert index[0][:2] == [FAILED.id, "failed"]
    assert [entry[0] for entry in index] == [cell["id"] for cell in details]
    assert details[0]["failure"] == {"kind": "diverged", "message": MESSAGE, "details": TRACEBACK}
    assert details[0]["row"] == "first <row>"


def test_a_page_holds_scores_costs_curves_and_the_command(pages: CellPages) -> None:
    _, details = unpacked(results_with(pages))
    cell = next(cell for cell in details if cell["id"] == LATER.id)
    assert cell["scores"]["depth"] == {"depth.rmse.pixels": 0.5}
    assert cell["primary"]["depth"] == "depth.rmse.pixels"
    assert cell["costs"]["image size"] == "2 3"
    assert len(cell["curves"]["losses"]["lines"]["semseg"]) == len(cell["curves"]["losses"]["step"]) == 60
    assert cell["startsFrom"] == [BASE.id]
    assert cell["command"].index(f"{BASE.id}.json") < cell["command"].index(f"{LATER.id}.json")
    new = next(cell for cell in details if cell["id"] == NEW.id)
    assert set(new) == {"id", "state", "row", "seed"}


def test_of_too_many_cells_the_later_ones_are_only_listed(
    pages: CellPages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cell_pages, "FULL", 1)
    index, details = unpacked(results_with(pages))
    assert {line[0]: line[4] is None for line in index} == {
        FAILED.id: True,
        NEW.id: True,
        DONE.id: False,
        LATER.id: False,
        BASE.id: False,
    }
    of = {cell["id"]: cell for cell in details}
    assert "scores" in of[DONE.id]
    assert "failure" in of[FAILED.id]
    assert set(of[LATER.id]) == {"id", "state", "row", "seed", "note"}


def test_json_in_the_page_ends_no_script() -> None:
    text = script_json({"a": "</script><!--\u2028", "b": compact([float("nan"), 1 / 3, 2.0, True])})
    assert "<" not in text
    assert "\u2028" not in text
    assert json.loads(text) == {"a": "</script><!--\u2028", "b": [None, 0.33333, 2, True]}
