"""Cells and results that nothing computed, for tests of what handles them."""

from mtlbench.folder import Costs, Result, TaskRecord
from mtlbench.spec import Cell, Choice, Recipe, Start


def make_cell(*tasks: str, seed: int = 0, start: Cell | None = None, batch_size: int = 8) -> Cell:
    parts = {name: Choice(name="tiny") for name in ("dataset", "backbone")}
    return Cell(
        tasks=tasks or ("depth",),
        method=Choice(name="multi_task"),
        balancer=Choice(name="equal"),
        recipe=Recipe(batch_size=batch_size),
        seed=seed,
        start=None if start is None else Start(cell=start),
        **parts,
    )


def make_result(cell: Cell, score: float = 0.5) -> Result:
    record = TaskRecord(metric="depth.rmse.pixels", heading="rmse", higher_is_better=False, scale=1)
    costs = dict.fromkeys(("parameters", "trainable", "macs"), 1)
    seconds = dict.fromkeys(("train_seconds", "images_per_second", "evaluate_seconds", "peak_memory_mb"), 1.0)
    return Result(
        cell=cell,
        tasks=dict.fromkeys(cell.tasks, record),
        scores={task: {"depth.rmse.pixels": score} for task in cell.tasks},
        images={"train": 1, "val": 1},
        costs=Costs(**costs, **seconds, input_size=(2, 3)),
        fingerprints={},
        provenance={},
    )
