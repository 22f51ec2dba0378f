"""What every protocol promises.

A protocol is a function of the content that all cells of a setting share (`Shared`) and of the tasks; it
returns the lines of a table, each with its cells. Its options are its keyword-only arguments.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from mtlbench.errors import MtlbenchError
from mtlbench.registry import unknown
from mtlbench.spec import Cell, Recipe, Start

Shared = Mapping[str, Any]
"""Fields of `Cell`: data set, backbone, method, balancer, tuning, recipe, seed."""
Tasks = tuple[str, ...]
Trains = Literal["all", "new", "decoder"]


@dataclass(frozen=True)
class Part:
    """One line of a table.

    Attributes:
        cells: whose scores make it; the cells that these start from are run as well.
        stages: the tasks whose losses train it, stage by stage.
        label: tells it from the protocol's other lines.
        extra: shown only where no other line holds the same cells (the base that others start from, say).
    """

    cells: list[Cell]
    stages: tuple[Tasks, ...]
    label: str = ""
    extra: bool = False


def chosen(option: str, given: Iterable[str], tasks: Tasks) -> Tasks:
    """The tasks that an option names, in the order of all: the same set is the same cell.

    Raises:
        MtlbenchError: one is unknown or given twice, or none is given.
    """
    given = list(given)
    for task in given:
        if task not in tasks:
            raise MtlbenchError(f"`{option}`: {unknown('task', task, list(tasks))}")
    if not given or len(set(given)) < len(given):
        raise MtlbenchError(f"`{option}` must name different tasks, at least one, got {given}")
    return tuple(task for task in tasks if task in given)


@dataclass(frozen=True)
class Stage:
    """What differs in a later stage from the recipe, whose schedule every stage runs from its beginning.

    Attributes:
        iterations: how long it is; default: as long as the recipe's.
        epochs: the same in passes over the training images.
        share: the same as a share of the recipe's length, and of its warm-up.
        lr: learning rate; default: the recipe's.
        trains: what goes on training (`mtlbench.spec.Start`).

    Raises:
        MtlbenchError: its length is given twice, or a value is out of range.
    """

    iterations: int | None = None
    epochs: int | None = None
    share: float | None = None
    lr: float | None = None
    trains: Trains = "all"

    def __post_init__(self) -> None:
        lengths = [name for name in ("iterations", "epochs", "share") if getattr(self, name) is not None]
        if len(lengths) > 1:
            raise MtlbenchError(f"a stage has one length, got {' and '.join(f'`{n}`' for n in lengths)}")
        for name in (*lengths, "lr"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise MtlbenchError(f"`{name}` must be > 0, got {value}")

    @property
    def note(self) -> str:
        """What a label says of it."""
        return "" if self.trains == "all" else f" (trains {self.trains})"

    def after(self, cell: Cell, tasks: Tasks) -> Cell:
        """The cell of this stage, for `tasks`, that starts from `cell`."""
        recipe = self._recipe(cell.lineage[0].recipe)
        start = Start(cell=cell, trains=self.trains)
        return cell.model_copy(update={"tasks": tasks, "left_out": (), "recipe": recipe, "start": start})

    def _recipe(self, recipe: Recipe) -> Recipe:
        changes: dict[str, Any] = {} if self.lr is None else {"lr": self.lr}
        if self.epochs is not None:
            changes["epochs"] = self.epochs
        elif self.iterations is not None:
            changes |= {"iterations": self.iterations, "epochs": None}
        elif self.share is not None:
            length = "iterations" if recipe.epochs is None else "epochs"
            changes[length] = max(1, round(self.share * getattr(recipe, length)))
            changes["warmup"] = round(self.share * recipe.warmup)
        return recipe.model_copy(update=changes)


def named(tasks: Sequence[str]) -> str:
    return "+".join(tasks)
