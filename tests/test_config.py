from pathlib import Path
from typing import Any

import pytest
import yaml

from mtlbench.config import find_grid, load_grid
from mtlbench.errors import MtlbenchError
from mtlbench.options import build_options, expand_choice
from mtlbench.registry import Registry
from mtlbench.spec import Choice

GRID: dict[str, Any] = {
    "dataset": "tiny",
    "backbone": "tiny",
    "method": ["multi_task", {"name": "troubled", "when": [1, 2], "label": "T ({when})"}],
    "balancer": ["equal", "pcgrad"],
    "recipe": {"iterations": 4, "batch_size": 4},
    "seed": [0, 1],
    "baseline": "single_task",
}


def write(folder: Path, **changes: Any) -> Path:
    file = folder / "grid.yaml"
    file.write_text(
        yaml.safe_dump({key: value for key, value in {**GRID, **changes}.items() if value is not None})
    )
    return file


def problems(file: Path, registry: Registry, *overrides: str) -> str:
    with pytest.raises(MtlbenchError) as caught:
        load_grid(file, registry, overrides=overrides)
    return str(caught.value)


def test_a_good_grid(tmp_path: Path, tiny_registry: Registry) -> None:
    grid = load_grid(write(tmp_path), tiny_registry)
    assert grid.name == "grid"
    assert [m.label for m in grid.methods] == ["multi_task", "T (1)", "T (2)"]
    assert grid.methods[1].choice == Choice(name="troubled", options={"when": 1})
    assert grid.seeds == [0, 1]
    assert grid.recipes[0].recipe.iterations == 4


def test_all_problems_are_reported_together(tmp_path: Path, tiny_registry: Registry) -> None:
    file = write(
        tmp_path,
        method=["multi_tsk", {"name": "troubled", "whn": 3}, {"name": "troubled", "when": "soon"}],
        balancer={"name": "dwa", "temperature": "hot"},
        tasks=["semseg", "depht"],
        seed=[0, 0],
        recipe={"iterations": 0, "optimiser": "sgd"},
        exclude=[{"metod": "x"}],
    )
    found = problems(file, tiny_registry)
    assert found.startswith(f"{file}: 9 problems\n")
    for line in (
        "method[0]: unknown method `multi_tsk`: did you mean `multi_task`",
        "method[1].whn: unknown option `whn`: did you mean `when`?",
        "method[2].when: must be a whole number, got 'soon'",
        "balancer.temperature: must be a number, got 'hot'",
        "tasks[1]: unknown task of data set `tiny` `depht`: did you mean `depth`?",
        "seed: must be one or several different whole numbers from 0 to 4294967295, got [0, 0]",
        "recipe.iterations: must be greater than 0, got 0",
        "recipe.optimiser: unknown key `optimiser`: did you mean `optimizer`?",
        "exclude[0].metod: unknown key `metod`: did you mean `method`?",
    ):
        assert line in found, found


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"balancr": "equal"}, "balancr: unknown key `balancr`: did you mean `balancer`?"),
        ({"dataset": None}, "dataset: this key is required"),
        ({"method": []}, "method: names no method"),
        ({"method": 3}, "method: must be the name of a method or a mapping with `name`, got 3"),
        ({"tasks": []}, "tasks: must be different tasks, at least one, got []"),
        ({"recipe": "quick"}, "recipe: unknown recipe `quick`: did you mean `quickstart`?"),
        (
            {"recipe": {"batch_size": 8, "accumulate": 3}},
            "recipe: `batch_size` must be a multiple of `accumulate`",
        ),
        ({"baseline": ["single_task", "multi_task"]}, "baseline: must be one method, got 2"),
        (
            {"backbone": {"name": "tiny", "weights": "no.pth"}},
            "must be none, pretrained or a file that exists, got no.pth",
        ),
        ({"execution": {"worker": 2}}, "execution.worker: unknown key `worker`: did you mean `workers`?"),
        ({"protocol": "jiont"}, "protocol: unknown protocol `jiont`: did you mean `joint`?"),
        ({"name": "a/b"}, "name: must be at most 100 letters, digits"),
        ({"plugins": ["gone.py"]}, "plugin file not found: gone.py"),
    ],
)
def test_one_problem(tmp_path: Path, tiny_registry: Registry, changes: dict[str, Any], message: str) -> None:
    assert message in problems(write(tmp_path, **changes), tiny_registry)


def test_overrides(tmp_path: Path, tiny_registry: Registry) -> None:
    overrides = [
        "recipe.iterations=7",
        "seed=[3]",
        "balancer[1]=dwa",
        "method[1].when=5",
        "balancer[0].name=fixed",
    ]
    grid = load_grid(write(tmp_path), tiny_registry, overrides=overrides)
    assert grid.recipes[0].recipe.iterations == 7
    assert grid.recipes[0].recipe.batch_size == 4
    assert grid.seeds == [3]
    assert [b.choice.name for b in grid.balancers] == ["fixed", "dwa"]
    assert grid.methods[1].choice.options == {"when": 5}


def test_an_override_turns_a_name_into_a_choice_with_options(tmp_path: Path, tiny_registry: Registry) -> None:
    grid = load_grid(
        write(tmp_path), tiny_registry, overrides=["dataset.images=8", "recipe=quickstart", "recipe.lr=0.5"]
    )
    assert grid.datasets[0].choice == Choice(name="tiny", options={"images": 8})
    assert grid.recipes[0].recipe.lr == 0.5
    assert grid.recipes[0].label == "quickstart (lr=0.5)"


@pytest.mark.parametrize("override", ["recipe.iterations", "=3", "method[9].when=3", "seed.x.y=1"])
def test_bad_override(tmp_path: Path, tiny_registry: Registry, override: str) -> None:
    assert "--set" in problems(write(tmp_path), tiny_registry, override)


def test_not_a_grid_file(tmp_path: Path, tiny_registry: Registry) -> None:
    file = tmp_path / "grid.yaml"
    file.write_text("- a list")
    assert "must hold a mapping of grid keys, found a list" in problems(file, tiny_registry)
    file.write_text("a: [")
    assert "is not YAML" in problems(file, tiny_registry)
    with pytest.raises(MtlbenchError, match=r"grid file not found: quickstrt .*did you mean `quickstart`"):
        find_grid("quickstrt")


def test_ready_grids_go_by_name_and_all_are_right(tiny_registry: Registry) -> None:
    ready = sorted((Path(__file__).parent.parent / "grids").glob("*.yaml"))
    assert find_grid("quickstart").samefile(ready[[f.stem for f in ready].index("quickstart")])
    for file in ready:
        assert load_grid(file, tiny_registry).methods, file


def test_a_list_option_is_a_value_where_the_option_takes_lists(tmp_path: Path) -> None:
    file = tmp_path / "plugin.py"
    file.write_text(
        "class Scaled:\n"
        "    '''A.'''\n"
        "    def __init__(self, a, b, *, scales: tuple[int, ...] = (0, 1), power: float = 1.0): pass\n"
        "plugins = {'method': {'scaled': Scaled}}\n"
    )
    registry = Registry()
    registry.add_file(file)
    one, found = expand_choice(registry, "method", {"name": "scaled", "scales": [1, 2]}, "method")
    assert not found
    assert [c.choice.options for c in one] == [{"scales": [1, 2]}]
    assert build_options(registry, "method", one[0].choice) == {"scales": (1, 2)}
    two, _ = expand_choice(
        registry, "method", {"name": "scaled", "scales": [[1], [0, 1]], "power": [1, 2]}, "method"
    )
    assert [c.choice.options for c in two] == [
        {"scales": [1]},
        {"scales": [1], "power": 2.0},
        {},
        {"power": 2.0},
    ]
