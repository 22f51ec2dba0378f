"""Commands that make a row, or a cell, anew: a small grid file, or the jobs of its cells one by one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

from mtlbench.cell_pages import RowSpec
from mtlbench.spec import Cell, Choice

_OF_GRIDS = {"dataset", "tasks", "backbone", "method", "balancer", "tuning", "recipe", "seed", "left_out"}
"""Fields of a cell that a grid of one row can say."""
_FOLDER = "again"
"""Where cells that are run one by one leave their run folders."""


def row_command(name: str, spec: RowSpec, plugins: Sequence[str] = ()) -> str:
    """What a shell takes to make a row anew, wherever its data are found as they were."""
    keys = _grid(spec)
    if keys is None:
        seeded = [cell.with_seeds(spec.seeds) for cell in spec.cells]
        return _jobs((found[seed] for seed in spec.seeds for found in seeded), plugins)
    name = re.sub(r"[^A-Za-z0-9_.-]+", "_", name)[:100]
    keys = {"name": name, **keys, **({"plugins": list(plugins)} if plugins else {})}
    # JSON is YAML, and leaves no doubt what is text.
    text = "\n".join(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in keys.items())
    return f"cat > {name}.yaml <<'GRID'\n{text}\nGRID\nmtlbench run {name}.yaml"


def cell_command(cell: Cell, plugins: Sequence[str] = ()) -> str:
    """The same for one cell, after those that it starts from."""
    return _jobs([cell], plugins)


def _grid(spec: RowSpec) -> dict[str, Any] | None:
    """Keys of a grid that stands for these cells alone; None where there is none that is simple."""
    first = spec.cells[0]
    if any(set(json.loads(cell.canonical)) - _OF_GRIDS for cell in spec.cells):
        return None
    alone = all(len(cell.tasks) == 1 for cell in spec.cells)
    if (len(spec.cells) > 1 and not alone) or len(first.left_out) > 1:
        return None
    left = {"name": "leave_one_out", "leave": list(first.left_out)}
    tasks = [task for cell in spec.cells for task in cell.tasks]
    return {
        "dataset": _entry(first.dataset),
        "tasks": tasks,
        "backbone": _entry(first.backbone),
        "method": _entry(first.method),
        "balancer": _entry(first.balancer),
        "tuning": _entry(first.tuning),
        "protocol": left if first.left_out else "single_task" if alone else "joint",
        "seed": list(spec.seeds),
        "recipe": json.loads(first.recipe.canonical),
    }


def _entry(choice: Choice) -> dict[str, Any]:
    return {"name": choice.name, **choice.options}


def _jobs(cells: Iterable[Cell], plugins: Sequence[str]) -> str:
    """Each cell after those that it starts from."""
    found = {one.id: one for cell in cells for one in cell.lineage}
    lines = [f"mkdir -p {_FOLDER}"]
    for id, cell in found.items():
        job = {"cell": json.loads(cell.canonical), "folder": f"{_FOLDER}/cells/{id}"}
        job |= {"plugins": list(plugins)} if plugins else {}
        text = json.dumps(job, ensure_ascii=False)
        lines += [f"cat > {_FOLDER}/{id}.json <<'JOB'", text, "JOB", f"mtlbench run-cell {_FOLDER}/{id}.json"]
    return "\n".join(lines)
