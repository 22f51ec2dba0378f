"""Ready grids hold the rows that they say they hold."""

from collections import Counter
from pathlib import Path

import pytest

from mtlbench.config import find_grid, load_grid
from mtlbench.plan import Row, expand
from mtlbench.published_numbers import find_published, read_published
from mtlbench.registry import Registry

GRIDS = sorted(file.stem for file in (Path(__file__).parent.parent / "grids").glob("*.yaml"))


def rows(name: str) -> list[Row]:
    registry = Registry()
    return expand(load_grid(find_grid(name), registry), registry).rows


@pytest.mark.parametrize("name", GRIDS)
def test_every_row_can_run(name: str) -> None:
    found = rows(name)
    assert found
    assert not [row.labels for row in found if row.skipped]
    labels = Counter(tuple(row.labels.values()) for row in found)
    assert max(labels.values()) == 1, "rows that a table can't tell apart"


def test_every_architecture_has_a_row() -> None:
    shown = {row.cells[0][0].method.name for row in rows("architectures")}
    assert shown == set(Registry().names("method"))


def test_table_three_has_the_papers_rows() -> None:
    found = rows("cityscapes_table3")
    candidates = [(row.labels["method"], row.labels["balancer"]) for row in found if row.role == "candidate"]
    shared = [balancer for method, balancer in candidates if method == "multi-task"]
    assert {"Uncertainty", "GradNorm", "DWA", "PCGrad", "IMTL-H", "CAGrad"} < set(shared)
    assert sum(balancer.startswith("GradDrop") for balancer in shared) == 3
    assert [balancer for method, balancer in candidates if method == "DeGMix"] == ["Equal"]
    assert [row.role for row in found].count("baseline") == 1
    assert {row.tasks for row in found} == {("semseg", "depth")}
    assert {len(row.cells) for row in found} == {3}


def test_every_method_of_the_fair_grid_has_the_same_trials() -> None:
    found = [row for row in rows("balancers_fair") if row.role == "candidate"]
    balancers = [row.cells[0][0].balancer for row in found]
    trials = Counter(balancer.name for balancer in balancers)
    plain = {"equal", "pcgrad"}  # have three more in the second call
    assert {name for name, count in trials.items() if count == 3} == plain
    assert {count for name, count in trials.items() if name not in plain | {"fixed"}} == {6}
    front = [balancer for balancer in balancers if balancer.name == "fixed"]
    ratios = {choice.options["weights"]["semseg"] / choice.options["weights"]["depth"] for choice in front}
    assert ratios == {27, 9, 3, 1 / 3, 1 / 9, 1 / 27}
    assert len(front) == 3 * len(ratios)
    assert len({tuple(row.cells) for row in found}) == 1, "all have the same seeds"


TABLES = {
    "nyud_table1": ("nyud_table1", "nyud_table1_two_tasks"),
    "pascal_table2": ("pascal_table2", "pascal_table2_three_tasks"),
}
"""Tables of architectures, and the grids that hold them together: tasks are those of a whole grid."""


@pytest.mark.parametrize("name", [name for grids in TABLES.values() for name in grids])
def test_rows_of_a_papers_table_are_found_there(name: str) -> None:
    registry = Registry()
    grid = load_grid(find_grid(name), registry)
    (name,) = grid.published
    table = read_published(name)
    for row in expand(grid, registry).rows:
        if row.role == "baseline" and row.labels["backbone"] == "Swin":
            continue  # MTFormer's: it prints no single-task networks
        backbones = [row.labels["backbone"], row.cells[0][0].backbone.name]
        assert find_published(table, row.labels["method"], backbones), row.labels


@pytest.mark.parametrize("name", TABLES)
def test_tables_leave_nothing_out(name: str) -> None:
    labels = {(row.labels["method"], row.labels["backbone"]) for grid in TABLES[name] for row in rows(grid)}
    printed = read_published(load_grid(find_grid(name), Registry()).published[0])
    assert not {(row.model, row.backbone) for row in printed} - labels
