from pathlib import Path
from typing import Any

import pytest
from test_config import write

from mtlbench.config import load_grid
from mtlbench.errors import MtlbenchError
from mtlbench.plan import Plan, expand
from mtlbench.registry import Registry


def planned(folder: Path, registry: Registry, **changes: Any) -> Plan:
    return expand(load_grid(write(folder, **changes), registry), registry)


def test_rows_and_cells(tmp_path: Path, tiny_registry: Registry) -> None:
    plan = planned(tmp_path, tiny_registry, reference="constant")
    assert [row.role for row in plan.rows] == ["reference", "baseline"] + ["candidate"] * 6
    assert len(plan.cells) == 2 * (1 + 4 + 6)
    baseline = plan.rows[1]
    assert [cell.tasks for cell in baseline.cells[0]] == [("semseg",), ("depth",), ("normals",), ("edge",)]
    assert {cell.balancer.name for cell in baseline.cells[0]} == {"equal"}
    assert plan.cells[0] == baseline.cells[0][0], "baselines run first"


def test_the_baseline_is_shared_by_all_methods_and_listed_once(
    tmp_path: Path, tiny_registry: Registry
) -> None:
    plan = planned(tmp_path, tiny_registry, method=["single_task", "multi_task"], seed=0)
    assert [row.labels["method"] for row in plan.rows] == ["single_task", "multi_task", "multi_task"]
    assert len(plan.cells) == 4 + 2


def test_one_baseline_per_backbone_and_recipe(tmp_path: Path, tiny_registry: Registry) -> None:
    recipes = [{"iterations": 4, "batch_size": 4}, {"iterations": 8, "batch_size": 4}]
    plan = planned(tmp_path, tiny_registry, recipe=recipes, method="multi_task", balancer="equal", seed=0)
    assert [row.role for row in plan.rows] == ["baseline", "candidate"] * 2
    assert [row.labels["recipe"] for row in plan.rows][::2] == [
        "custom (batch_size=4, iterations=4)",
        "custom (batch_size=4, iterations=8)",
    ]


def test_one_baseline_for_all_tunings(tmp_path: Path, tiny_registry: Registry) -> None:
    tunings = {"tuning": ["decoder", "bitfit"], "method": "multi_task", "balancer": "equal", "seed": 0}
    own = planned(tmp_path, tiny_registry, **tunings)
    found = [(row.role, row.labels["tuning"]) for row in own.rows]
    assert found == [(role, name) for name in ("decoder", "bitfit") for role in ("baseline", "candidate")]
    shared = planned(tmp_path, tiny_registry, **tunings, baseline_tuning="full")
    found = [(row.role, row.labels["tuning"]) for row in shared.rows]
    assert found == [("baseline", "full"), ("candidate", "decoder"), ("candidate", "bitfit")]
    assert {cell.tuning.name for cell in shared.rows[0].cells[0]} == {"full"}
    with pytest.raises(MtlbenchError, match=r"baseline_tuning: must be one tuning, got 2"):
        planned(
            tmp_path,
            tiny_registry,
            **tunings,
            baseline_tuning={"name": "decoder", "backbone_mode": ["eval", "train"]},
        )
    with pytest.raises(MtlbenchError, match=r"baseline_tuning.*`ful`.*did you mean `full`"):
        planned(tmp_path, tiny_registry, **tunings, baseline_tuning="ful")


def test_exclusion_by_pattern(tmp_path: Path, tiny_registry: Registry) -> None:
    plan = planned(
        tmp_path, tiny_registry, exclude=[{"method": "troubled", "balancer": "pc*"}, {"method": "T (2)"}]
    )
    labels = [(row.labels["method"], row.labels["balancer"]) for row in plan.rows if row.role == "candidate"]
    assert labels == [("multi_task", "equal"), ("multi_task", "pcgrad"), ("T (1)", "equal")]


def test_what_cannot_run_is_skipped_with_its_reason(tmp_path: Path, tiny_registry: Registry) -> None:
    plugin = tmp_path / "picky.py"
    plugin.write_text(
        "from mtlbench.model import Method\n"
        "class Picky(Method):\n"
        "    '''Wants depth.'''\n"
        "    @classmethod\n"
        "    def unsupported(cls, tasks, backbone):\n"
        "        return None if set(tasks) == {'depth'} else f'needs depth alone, not on {backbone}'\n"
        "plugins = {'method': {'picky': Picky}}\n"
    )
    registry = Registry()
    for file in (plugin, *tiny_registry.files):
        registry.add_file(file)
    plan = planned(tmp_path, registry, method=["picky", "multi_task"], balancer="equal")
    skipped = [row for row in plan.rows if row.skipped]
    assert [row.skipped for row in skipped] == ["needs depth alone, not on tiny"]
    assert skipped[0].cells == {}
    fine = planned(tmp_path, registry, method=["picky"], balancer="equal", tasks=["depth"])
    assert not any(row.skipped for row in fine.rows)


def test_a_row_as_json(tmp_path: Path, tiny_registry: Registry) -> None:
    row = planned(tmp_path, tiny_registry, balancer="equal").rows[1]
    record = row.record()
    assert record["cells"] == {"0": [row.cells[0][0].id], "1": [row.cells[1][0].id]}
    assert record["labels"]["method"] == "multi_task"
