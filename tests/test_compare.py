"""Two folders of runs side by side."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from cells_factory import make_cell, make_result
from rich.console import Console

from mtlbench.compare_command import compare_folders
from mtlbench.compared import compare
from mtlbench.errors import MtlbenchError
from mtlbench.folder import Job, Result
from mtlbench.spec import Cell, Choice
from mtlbench.store import Runs

LABELS = dict.fromkeys(("dataset", "backbone", "method", "tuning", "recipe"), "tiny")


def scored(cell: Cell, score: float, **changes: object) -> Result:
    return make_result(cell, score).model_copy(update=changes)


def folder(root: Path, *found: Result, labels: dict[str, str] | None = None) -> Runs:
    """Runs with these results, all in one grid `main`, under these labels where any are given."""
    runs = Runs(root)
    rows = []
    for result in found:
        place = runs.folder(result.cell)
        place.create(Job(cell=result.cell, folder=place.path))
        place.finish(result)
        known = {**LABELS, "balancer": result.cell.balancer.name, "protocol": "", **(labels or {})}
        rows.append(
            {
                "role": "candidate",
                "labels": known,
                "tasks": [*result.cell.tasks],
                "cells": {str(result.cell.seed): [result.cell.id]},
                "skipped": None,
            }
        )
    runs.save_grid("main", rows)
    return runs


def seeds(*scores: float, **cell: object) -> list[Result]:
    return [make_result(make_cell(seed=i).changed(**cell), score) for i, score in enumerate(scores)]


def printed(a: Runs, b: Runs, out: Path | None = None) -> str:
    console = Console(width=200)
    with console.capture() as captured:
        compare_folders(a.root, b.root, console, out=out)
    return captured.get()


def test_difference_over_seeds(tmp_path: Path) -> None:
    a = folder(tmp_path / "a", *seeds(0.5, 0.6, 0.7))
    b = folder(tmp_path / "b", *seeds(0.6, 0.7, 0.81))
    (line,) = compare(a, b).lines
    assert (line.a, line.b) == (pytest.approx(0.6), pytest.approx(0.70333333))
    assert line.difference.mean == pytest.approx(0.1033333333)
    # t.ppf(0.975, 2) = 4.302653; sample standard deviation of (0.1, 0.1, 0.11) = 0.0057735; / sqrt(3)
    assert line.difference.low == pytest.approx(0.1033333333 - 4.302653 * 0.00333333, abs=1e-6)
    assert line.verdict == "b worse", "an error that is larger"
    assert "B worse" in printed(a, b)


def test_identical_bit_for_bit(tmp_path: Path) -> None:
    values = (0.1 + 0.2, float("nan"))
    a, b = (folder(tmp_path / name, *seeds(*values)) for name in "ab")
    found = compare(a, b)
    assert (found.cells, found.identical, found.changes, found.alone) == (2, 2, (), ())
    (line,) = found.lines
    assert line.verdict == "identical"
    assert line.seeds == (0,), "one that is not finite has no mean"
    said = printed(a, b)
    assert "2 of 2 pairs of cells are identical bit for bit" in said
    assert "Code, versions, hardware and data are the same." in said
    other = folder(tmp_path / "c", *seeds(0.3, float("nan")))
    assert compare(a, other).identical == 1, "0.1 + 0.2 is not 0.3"


def test_what_one_folder_lacks(tmp_path: Path) -> None:
    pcgrad = Choice(name="pcgrad")
    a = folder(tmp_path / "a", *seeds(0.5, 0.6, 0.7), *seeds(0.4, balancer=pcgrad))
    b = folder(tmp_path / "b", *seeds(0.5, 0.6))
    alone = compare(a, b).alone
    assert [(x.side, x.setting.labels["balancer"], x.seeds) for x in alone] == [
        ("a", "equal", (2,)),
        ("a", "pcgrad", (0,)),
    ]
    said = printed(b, a)
    assert "Only in B: tiny · equal (depth), seed 2" in said
    assert "Only in B: tiny · pcgrad (depth), seed 0" in said


def test_what_code_versions_and_hardware_differ_by(tmp_path: Path) -> None:
    cells = [make_cell(seed=seed) for seed in (0, 1)]

    def results(method: str, torch: str, gpu: str | None) -> list[Result]:
        origin = {"packages": {"torch": torch}, "gpu": gpu, "finished": torch}
        return [
            scored(c, 0.5, fingerprints={"method": method, "core": "1"}, provenance=origin) for c in cells
        ]

    a = folder(tmp_path / "a", *results("x", "2.1", None))
    b = folder(tmp_path / "b", *results("y", "2.2", "H200"))
    assert {(c.what, c.a, c.b, c.cells) for c in compare(a, b).changes} == {
        ("code: method multi_task", "x", "y", 2),
        ("packages.torch", "2.1", "2.2", 2),
        ("gpu", "none", "H200", 2),
    }
    assert "Differs in 2 of 2 pairs: gpu: none -> H200" in printed(a, b)


def test_same_labels_other_settings(tmp_path: Path) -> None:
    """Cells whose ids differ are compared where tables call them the same, which is said."""
    a, b = (
        folder(tmp_path / str(size), scored(make_cell(batch_size=size), 0.5), labels={"recipe": "ours"})
        for size in (4, 8)
    )
    found = compare(a, b)
    assert [line.how for line in found.lines] == ["labels"]
    assert {(c.what, c.a, c.b) for c in found.changes} == {("setting.recipe.batch_size", "4", "8")}
    assert "tiny*" in printed(a, b)


def test_ambiguous_labels_are_not_matched(tmp_path: Path) -> None:
    three = [scored(make_cell(batch_size=size), 0.5) for size in (2, 4, 8)]
    a = folder(tmp_path / "a", three[0], three[2], labels={"recipe": "ours"})
    b = folder(tmp_path / "b", three[1], scored(make_cell(batch_size=16), 0.5), labels={"recipe": "ours"})
    with pytest.raises(MtlbenchError, match="their rows differ in labels, tasks or seeds"):
        compare(a, b)


def test_another_metric_is_no_difference(tmp_path: Path) -> None:
    a = folder(tmp_path / "a", *seeds(0.5))
    (result,) = seeds(0.5)
    record = result.tasks["depth"].model_copy(update={"metric": "depth.delta1"})
    changed = result.model_copy(
        update={"tasks": {"depth": record}, "scores": {"depth": {"depth.delta1": 0.5}}}
    )
    found = compare(a, folder(tmp_path / "b", changed))
    assert found.lines == ()
    assert found.others == ("depth: its metric is depth.rmse.pixels in A and depth.delta1 in B",)


def test_one_grid_and_no_trials(tmp_path: Path) -> None:
    (kept,), (other,) = seeds(0.5), seeds(0.4, balancer=Choice(name="pcgrad"))
    (trial,) = seeds(0.3, holdout=0.5)
    runs = folder(tmp_path / "a", kept, other, trial)
    runs.save_grid("one", [{"labels": LABELS, "cells": {"0": [kept.cell.id]}}])
    assert compare(runs, runs).cells == 2
    assert compare(runs, runs, "one").cells == 1
    with pytest.raises(MtlbenchError, match=r"unknown grid .* `noe`: did you mean `one`"):
        compare(runs, runs, "noe")


@pytest.mark.parametrize("suffix", ["md", "csv"])
def test_files(tmp_path: Path, suffix: str) -> None:
    a = folder(tmp_path / "a", *seeds(0.5, 0.6))
    b = folder(tmp_path / "b", *seeds(0.6, 0.7))
    out = tmp_path / "new" / f"out.{suffix}"
    printed(a, b, out)
    if suffix == "md":
        assert "| tiny | depth | rmse ↓ | 0.5500 | 0.6500 | +0.1000 |" in out.read_text(encoding="utf-8")
    else:
        with out.open(newline="") as file:
            (line,) = csv.DictReader(file)
        assert float(line["difference"]) == pytest.approx(0.1)
        assert (line["matched"], line["n"], line["identical"]) == ("id", "2", "False")


def test_what_can_not_be_compared(tmp_path: Path) -> None:
    a = folder(tmp_path / "a", *seeds(0.5))
    b = folder(tmp_path / "b", *seeds(0.5, method=Choice(name="degmix")), labels={"method": "DeGMix"})
    with pytest.raises(MtlbenchError, match=r"no cell in common.*\nmethod: tiny / DeGMix$"):
        compare(a, b)
    with pytest.raises(MtlbenchError, match=r"no cell is done in .*empty"):
        compare(a, folder(tmp_path / "empty"))
    with pytest.raises(MtlbenchError, match=r"no runs in .*nowhere"):
        compare(a, Runs(tmp_path / "nowhere"))
    with pytest.raises(MtlbenchError, match=r"--out must end in .md or .csv, got .*x.pdf"):
        compare_folders(a.root, a.root, Console(quiet=True), out=tmp_path / "x.pdf")
