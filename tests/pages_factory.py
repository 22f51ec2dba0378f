"""A folder of runs whose cells nobody ran: done, failed, one that goes on from another, and a new one."""

from __future__ import annotations

import json
from pathlib import Path

from cells_factory import make_cell, make_result

from mtlbench.cell_pages import CellPages
from mtlbench.folder import Failure, Job
from mtlbench.plan import Row
from mtlbench.spec import Cell
from mtlbench.store import Runs

DONE, FAILED, LATER, NEW = (
    make_cell("semseg", "depth"),
    make_cell("semseg", "depth", seed=1),
    make_cell("semseg", "depth", start=make_cell("depth", seed=5), batch_size=4),
    make_cell("depth", seed=7),
)
MESSAGE, TRACEBACK = (
    "loss of <b>depth</b> is NaN",
    "Traceback (most recent call last):\n  <script>alert(1)</script>",
)


def make_pages(root: Path, steps: int = 200) -> CellPages:
    """Two rows: one whose seeds are done, failed and new, and one that goes on from another cell."""
    runs = Runs(root)
    for cell in (DONE, FAILED, LATER, *LATER.lineage[:-1]):
        folder = runs.folder(cell)
        folder.create(Job(cell=cell, folder=folder.path, plugins=("mine.py",)))
        folder.log.write_text(f"log of {cell.id}\nlast line </pre>\n", encoding="utf-8")
        for step in range(1, steps + 1):
            weights = dict.fromkeys(cell.tasks, 1.0)
            losses = dict.fromkeys(cell.tasks, 1 / step)
            folder.note({"step": step, "lr": 0.1, "losses": losses, "weights": weights, "cosines": []})
    for cell in (DONE, LATER, *LATER.lineage[:-1]):
        runs.folder(cell).finish(make_result(cell))
    runs.folder(FAILED).fail(Failure(kind="diverged", message=MESSAGE, details=TRACEBACK))
    rows = [_row(DONE, FAILED, NEW), _row(LATER)]
    return CellPages(runs, [json.loads(json.dumps(row.record())) for row in rows], runs.cells())


def _row(*cells: Cell) -> Row:
    stages = tuple(stage.tasks for stage in cells[0].lineage)
    return Row("candidate", {}, cells[0].tasks, stages, {cell.seed: [cell] for cell in cells})
