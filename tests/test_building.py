"""Balancers of cells that have some of a grid's tasks; what is refused says by whom."""

import pytest
from cells_factory import make_cell

from mtlbench.building import build_balancer
from mtlbench.errors import MtlbenchError
from mtlbench.preflight import check_parts
from mtlbench.registry import Registry
from mtlbench.spec import Cell, Choice

WEIGHTS = {"semseg": 2.0, "depth": 3.0, "normals": 4.0}


def fixed(**weights: float) -> Choice:
    return Choice(name="fixed", options={"weights": weights})


def test_values_by_task_may_name_tasks_that_other_cells_have(tiny_registry: Registry) -> None:
    known = tiny_registry.load("dataset", "tiny").tasks
    tasks = {name: known[name] for name in ("depth", "edge")}
    balancer = build_balancer(fixed(**WEIGHTS), tasks, known=known)
    assert balancer.get_buffer("factors").tolist() == [3.0, 50.0]
    assert build_balancer(Choice(name="stch"), tasks, known=known).task_names == ("depth", "edge")
    with pytest.raises(MtlbenchError, match="unknown task `semseg`"):
        build_balancer(fixed(**WEIGHTS), tasks)
    with pytest.raises(MtlbenchError, match="unknown task `dept`: did you mean `depth`"):
        build_balancer(fixed(dept=1.0), tasks, known=known)


def test_a_grids_weights_are_checked_for_each_of_its_cells(tiny_registry: Registry) -> None:
    def cell(left_out: tuple[str, ...], **weights: float) -> Cell:
        return make_cell("semseg", "depth").model_copy(
            update={"left_out": left_out, "balancer": fixed(**weights)}
        )

    check_parts([cell((), **WEIGHTS), cell(("depth",), **WEIGHTS)])
    with pytest.raises(MtlbenchError, match="unknown task `dept`"):
        check_parts([cell(("depth",), dept=1.0)])


@pytest.mark.usefixtures("tiny_registry")
@pytest.mark.parametrize("tuning", ["polyhistor", "vpt_deep"])
def test_a_tuning_that_refuses_a_network_is_named(tuning: str) -> None:
    """As one of several in a grid."""
    cell = make_cell("semseg", "depth").model_copy(
        update={
            "backbone": Choice(name="swin-t"),
            "method": Choice(name="cross_stitch"),
            "tuning": Choice(name=tuning),
        }
    )
    with pytest.raises(
        MtlbenchError, match=f"^{tuning} on cross_stitch: .*CrossStitch has one for each task"
    ):
        check_parts([cell])


def test_images_of_a_size_that_a_network_does_not_take_are_refused_before_any_is_read() -> None:
    def cell(size: str, **options: object) -> Cell:
        return make_cell("semseg", "depth").model_copy(
            update={
                "dataset": Choice(name="rooms", options={"size": size}),
                "backbone": Choice(name="swin-t"),
                "method": Choice(name="taskprompter", options={"input_size": (64, 96), **options}),
            }
        )

    check_parts([cell("64x96", variant="published"), cell("64x64")])
    with pytest.raises(MtlbenchError, match="takes images of `input_size` 64x96 only, got 64x64: set"):
        check_parts([cell("64x64", variant="published")])
