from pathlib import Path
from typing import Any

import pytest

from mtlbench.errors import MtlbenchError
from mtlbench.protocols.joint import joint
from mtlbench.protocols.leave_one_out import leave_one_out
from mtlbench.protocols.part import Part
from mtlbench.protocols.single_task import single_task
from mtlbench.protocols.subsets import subsets
from mtlbench.protocols.task_addition import task_addition
from mtlbench.spec import Choice, Recipe

TASKS = ("semseg", "depth", "normals")
SHARED: dict[str, Any] = {
    **{part: Choice(name="x") for part in ("dataset", "backbone", "method", "balancer")},
    "recipe": Recipe(iterations=400, lr=0.1, warmup=20),
    "seed": 3,
}


def trained(parts: list[Part]) -> list[list[tuple[str, ...]]]:
    return [[cell.trained for cell in part.cells] for part in parts]


def test_joint_and_single_task() -> None:
    (part,) = joint(SHARED, TASKS)
    assert [cell.tasks for cell in part.cells] == [TASKS]
    assert part.stages == (TASKS,)
    (part,) = joint(SHARED, TASKS, train=("normals", "semseg"))
    assert [cell.tasks for cell in part.cells] == [("semseg", "normals")], "in the order of all tasks"
    (part,) = single_task(SHARED, TASKS)
    assert [cell.tasks for cell in part.cells] == [("semseg",), ("depth",), ("normals",)]


def test_all_subsets_or_the_named_ones() -> None:
    assert len(subsets(SHARED, TASKS)) == 7
    assert [part.label for part in subsets(SHARED, TASKS, sizes=(2,))] == [
        "semseg+depth",
        "semseg+normals",
        "depth+normals",
    ]
    named = subsets(SHARED, TASKS, sets=(("depth", "semseg"), ("semseg", "depth"), ("normals",)))
    assert trained(named) == [[("semseg", "depth")], [("normals",)]]


def test_tasks_are_added_one_by_one_each_stage_from_the_one_before() -> None:
    base, second, third = task_addition(
        SHARED, TASKS, base=("semseg",), add=("normals", "depth"), share=0.25, lr=0.01, trains="new"
    )
    assert trained([base, second, third]) == [[("semseg",)], [("semseg", "normals")], [TASKS]]
    assert third.stages == (("semseg",), ("semseg", "normals"), TASKS)
    assert third.label == "semseg, then normals (trains new), then depth (trains new)"
    assert [part.extra for part in (base, second, third)] == [True, True, False]
    (last,) = third.cells
    assert last.lineage == [*base.cells, *second.cells, last]
    assert [cell.recipe.iterations for cell in last.lineage] == [400, 100, 100]
    assert [cell.recipe.lr for cell in last.lineage] == [0.1, 0.01, 0.01]
    assert [cell.recipe.warmup for cell in last.lineage] == [20, 5, 5]
    assert last.start is not None
    assert last.start.trains == "new"
    assert base.cells == joint(SHARED, TASKS, train=("semseg",))[0].cells, "shared with other rows"


def test_one_task_is_left_out_and_then_added() -> None:
    parts = leave_one_out(SHARED, TASKS, then_add=True, epochs=5)
    assert len(parts) == 6
    without, added = parts[:2]
    assert without.cells[0].tasks == TASKS
    assert without.cells[0].trained == ("depth", "normals")
    assert without.stages == (("depth", "normals"),)
    assert added.cells[0].parents == (without.cells[0],)
    assert added.cells[0].trained == TASKS
    assert added.cells[0].recipe.steps(images=80) == 5 * 10
    assert added.stages == (("depth", "normals"), TASKS)
    assert added.label == "without semseg, then semseg"
    assert [part.label for part in leave_one_out(SHARED, TASKS, leave=("depth",))] == ["without depth"]


@pytest.mark.parametrize(
    ("protocol", "options", "message"),
    [
        (joint, {"train": ("depht",)}, "`train`: unknown task `depht`: did you mean `depth`?"),
        (joint, {"train": ()}, "`train` must name different tasks, at least one, got []"),
        (subsets, {"sets": (("depth", "depth"),)}, "`sets[0]` must name different tasks"),
        (subsets, {"sizes": (4,)}, "`sizes` must be from 1 to 3, the number of tasks, got 4"),
        (subsets, {"sizes": (1,), "sets": (("depth",),)}, "takes `sets` or `sizes`, not both"),
        (task_addition, {"base": ("depth",), "add": ("depth",)}, "not in `base`, got ['depth']"),
        (task_addition, {"base": ("depth",), "add": ("semseg",), "epochs": 0}, "`epochs` must be > 0, got 0"),
        (
            task_addition,
            {"base": ("depth",), "add": ("semseg",), "epochs": 1, "share": 0.5},
            "a stage has one length, got `epochs` and `share`",
        ),
        (leave_one_out, {"leave": ("edge",)}, "`leave`: unknown task `edge`"),
    ],
)
def test_what_makes_no_sense_is_refused(protocol: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(MtlbenchError) as error:
        protocol(SHARED, TASKS, **options)
    assert message in str(error.value)


def test_one_task_cannot_be_left_out_of_one() -> None:
    with pytest.raises(MtlbenchError, match="at least two tasks, got \\['depth'\\]"):
        leave_one_out(SHARED, ("depth",))


def test_the_example_of_the_guide() -> None:
    page = Path(__file__).parent.parent / "docs" / "protocols.md"
    code = page.read_text().split("```python\n")[1].split("```")[0]
    made: dict[str, Any] = {}
    exec(code, made)
    parts = made["plugins"]["protocol"]["pairs_with"](SHARED, TASKS, task="depth")
    assert trained(parts) == [[("semseg", "depth")], [("depth", "normals")]]
