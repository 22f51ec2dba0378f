"""Cells that are put together of trained networks: their content, the plan, the driver, the weights."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from cells_factory import make_cell
from mtlbench.methods.cross_stitch import CrossStitch
from test_driver import drive, fail, succeed
from test_plan import planned

from mtlbench import checkpoint
from mtlbench.errors import MtlbenchError
from mtlbench.executors.base import Event
from mtlbench.folder import Job, RunFolder
from mtlbench.plan import Plan
from mtlbench.portable import Weights
from mtlbench.registry import Registry
from mtlbench.spec import Cell
from mtlbench.starting import join
from mtlbench.testing import TinyBackbone, tiny_tasks

TASKS = ("semseg", "depth")


def joined(seed: int = 0) -> Cell:
    return make_cell(*TASKS, seed=seed).changed(joins=tuple(make_cell(task, seed=seed) for task in TASKS))


def test_content_of_a_cell_that_joins_others() -> None:
    cell = joined()
    assert Cell.model_validate_json(cell.model_dump_json()) == cell
    assert Cell.model_validate_json(cell.canonical).id == cell.id
    assert cell.id != make_cell(*TASKS).id
    assert make_cell(*TASKS).changed(joins=()).id == make_cell(*TASKS).id
    assert cell.lineage == [*cell.joins, cell]
    assert cell.stages == [cell]
    assert cell.with_seeds([0, 3]) == {0: cell, 3: joined(seed=3)}
    assert cell.with_seeds([3])[3].kind != make_cell(*TASKS, seed=3).kind
    assert {one.holdout for one in cell.held_out(0.5).lineage} == {0.5}


def test_what_starts_from_the_same_cells_has_each_of_them_once_in_its_lineage() -> None:
    cell = joined()
    later = make_cell(*TASKS, "edge", start=cell)
    assert later.lineage == [*cell.joins, cell, later]
    assert later.stages == [cell, later]
    costs = {cell.joins[0].id: 5.0, cell.joins[1].id: 7.0, cell.id: 2.0, later.id: 1.0}
    assert later.longest_path(lambda one: costs[one.id]) == 10.0, "joined networks train side by side"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"joins": (make_cell("edge"),)}, "cells of one task of this one each"),
        ({"joins": (make_cell("depth"), make_cell("depth", seed=1))}, "cells of one task of this one each"),
        ({"joins": (make_cell(*TASKS),)}, "cells of one task of this one each"),
        ({"joins": (make_cell("depth"),), "start": {"cell": make_cell("depth")}}, "not both"),
        ({"joins": (make_cell("depth"),), "holdout": 0.5}, "`holdout` must be that of the cell"),
    ],
)
def test_what_cannot_be_joined(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Cell.model_validate(make_cell(*TASKS).model_dump() | changes)


def plan(folder: Path, registry: Registry, **changes: Any) -> Plan:
    given = {"tasks": list(TASKS), "balancer": "equal", "seed": [0, 1], "backbone": "resnet18"}
    return planned(folder, registry, **given | changes)


def test_networks_are_put_together_of_the_baseline(tmp_path: Path, tiny_registry: Registry) -> None:
    found = plan(tmp_path, tiny_registry, method="cross_stitch")
    baseline, row = found.rows
    assert len(found.cells) == 2 * (2 + 1)
    for seed in (0, 1):
        (cell,) = row.cells[seed]
        assert [one.id for one in cell.joins] == [one.id for one in baseline.cells[seed]]
    assert row.stages == (TASKS,)


@pytest.mark.parametrize(
    ("method", "cells"),
    [
        ({"name": "cross_stitch", "head": "hrnet"}, 5),  # other heads than the baseline's
        ({"name": "cross_stitch", "start": "none"}, 3),
        ({"name": "nddr_cnn", "variant": "table1"}, 3),
        ([{"name": "nddr_cnn"}, {"name": "cross_stitch", "alpha": [0.8, 0.9]}], 5),
    ],
)
def test_number_of_cells(tmp_path: Path, tiny_registry: Registry, method: Any, cells: int) -> None:
    assert len(plan(tmp_path, tiny_registry, method=method, seed=0).cells) == cells


def test_the_first_of_several_stages_is_put_together(tmp_path: Path, tiny_registry: Registry) -> None:
    protocol = {"name": "task_addition", "base": ["semseg"], "add": ["depth"]}
    found = plan(tmp_path, tiny_registry, method="nddr_cnn", protocol=protocol, seed=0)
    (last,) = found.rows[-1].cells[0]
    first, _ = last.stages
    assert last.joins == ()
    assert [cell.method.name for cell in last.lineage] == ["single_task", "nddr_cnn", "nddr_cnn"]
    assert [one.tasks for one in first.joins] == [("semseg",)]


def test_what_is_left_out_has_no_network_of_its_own(tmp_path: Path, tiny_registry: Registry) -> None:
    found = plan(tmp_path, tiny_registry, method="nddr_cnn", protocol="leave_one_out", seed=0)
    joins = [[one.tasks for one in row.cells[0][0].joins] for row in found.rows if row.role == "candidate"]
    assert joins == [[("depth",)], [("semseg",)]]


def test_a_cell_starts_when_all_that_it_joins_is_done(tmp_path: Path) -> None:
    cell = joined()
    progress, executor, _ = drive(tmp_path, [cell, *cell.joins], succeed)
    assert set(progress.states.values()) == {"done"}
    assert executor.started == [*(one.id for one in cell.joins), cell.id]


def test_one_failed_network_blocks_what_joins_it_with_the_reason(tmp_path: Path) -> None:
    cell = joined()
    later = make_cell(*TASKS, "edge", start=cell)
    first, second = cell.joins

    def act(job: Job) -> Event:
        return fail(job) if job.cell == first else succeed(job)

    progress, executor, runs = drive(tmp_path, [first, second, cell, later], act)
    states = {first.id: "failed", second.id: "done", cell.id: "blocked", later.id: "blocked"}
    assert progress.states == states
    assert first.id in progress.reasons[cell.id]
    assert Counter(executor.started) == dict.fromkeys([first.id, second.id], 1)
    assert runs.folder(cell).job.exists(), "so that a rerun finds it"
    progress, executor, _ = drive(tmp_path, [second, cell], succeed)
    assert progress.states[cell.id] == "blocked", "a network that it joins is not there, and not to come"


@pytest.fixture
def trained(tmp_path: Path, tiny_registry: Registry) -> dict[str, dict[str, torch.Tensor]]:
    """Weights of the networks of each task, in their folders."""
    single_task = tiny_registry.load("method", "single_task")
    found = {}
    for task in TASKS:
        torch.manual_seed(len(task))
        weights = Weights.of(single_task(TinyBackbone(), {task: tiny_tasks()[task]}))
        folder = RunFolder(tmp_path / make_cell(task).id)
        folder.path.mkdir()
        checkpoint.save(folder.weights, weights.saved())
        found[task] = weights.network
    return found


def test_trained_networks_become_parts_of_one(
    tmp_path: Path, trained: dict[str, dict[str, torch.Tensor]]
) -> None:
    network = CrossStitch(TinyBackbone(), {task: tiny_tasks()[task] for task in TASKS})
    cell = joined()
    found = join(network, cell.joins, RunFolder(tmp_path / cell.id))
    assert found["joined"] == {one.tasks[0]: one.id for one in cell.joins}
    assert found["new"] == [name for name in network.state_dict() if name.startswith("cross_stitch.")]
    for task, theirs in trained.items():
        mine = network.state_dict()
        copy = {
            n: mine[f"backbone.copies.{task}.{n.removeprefix('backbone.')}"] for n in theirs if "back" in n
        }
        heads = {name: mine[name] for name in theirs if "backbone" not in name}
        assert {name: value for name, value in (copy | heads).items() if not value.equal(theirs[name])} == {}


def test_networks_that_do_not_fit_are_refused(
    tmp_path: Path, trained: dict[str, dict[str, torch.Tensor]]
) -> None:
    tasks = {task: tiny_tasks()[task] for task in TASKS}
    cell = joined()
    message = r"the network of semseg \(.*\) doesn't fit .*: bottleneck.semseg.conv.weight should have shape"
    with pytest.raises(MtlbenchError, match=message):
        join(CrossStitch(TinyBackbone(), tasks, head_channels=3), cell.joins, RunFolder(tmp_path / cell.id))
