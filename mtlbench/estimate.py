"""How long cells will take: from measured steps of like cells, or from a short probe."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from mtlbench.registry import registry
from mtlbench.spec import Cell
from mtlbench.summaries import Summary

Basis = Literal["measured", "similar", "probe"]
EXACT_FACTOR = 2.0
"""Time of a step that takes each task's gradient at all shared parameters, against one with equal weights."""
PROBE_STEPS = 2


@dataclass(frozen=True)
class Speed:
    """Seconds of one optimizer step, and of the evaluation."""

    step: float
    evaluation: float


@dataclass(frozen=True)
class Estimate:
    """Seconds that a cell takes from its start.

    Attributes:
        basis: `measured` on cells that differ in seed and length alone, `similar`: on cells that differ in
            balancer or tasks, too, `probe`: on a few steps on noise.
    """

    seconds: float
    basis: Basis


class Estimator:
    """Speeds of kinds of cells."""

    def __init__(self) -> None:
        self._speeds: list[dict[str, list[Speed]]] = [defaultdict(list) for _ in range(_LEVELS)]
        self._probed: dict[str, Speed] = {}
        self._known: dict[tuple[object, ...], Estimate | None] = {}

    def learn(self, cells: Iterable[Cell], summaries: Mapping[str, Summary]) -> None:
        """Take in what cells took that are done."""
        for cell in cells:
            found = summaries.get(cell.id)
            if found is None or found.state != "done" or not found.iterations:
                continue
            assert found.train_seconds is not None
            assert found.evaluate_seconds is not None
            speed = Speed(found.train_seconds / found.iterations, found.evaluate_seconds)
            self._known.clear()
            for speeds, kind in zip(self._speeds, _kinds(cell), strict=True):
                speeds[kind].append(speed)

    def of(self, cell: Cell) -> Estimate | None:
        """None where nothing like it was measured."""
        if cell.kind not in self._known:
            found = self.speed_of(cell)
            self._known[cell.kind] = None if found is None else Estimate(_seconds(cell, found[0]), found[1])
        return self._known[cell.kind]

    def speed_of(self, cell: Cell) -> tuple[Speed, Basis] | None:
        """The same, not yet multiplied by its length."""
        for level, kind in enumerate(_kinds(cell)):
            found = self._speeds[level].get(kind)
            if found:
                return _typical(found), "measured" if level == 0 else "similar"
            if level == 0 and kind in self._probed:
                return self._probed[kind], "probe"
        return None

    def probe(self, cells: Iterable[Cell], notice: Callable[[Cell, str | None], None]) -> None:
        """Measure every kind of which nothing is known in a process of its own.

        `notice` hears of each before it is measured, and of the reason where it could not be.
        """
        import torch  # slow to import, as the rest

        from mtlbench.building import evaluation_images
        from mtlbench.profiling.apart import Failed, measure_apart
        from mtlbench.profiling.timing import Load

        for cell in cells:
            estimate, kind = self.of(cell), next(_kinds(cell))
            if estimate is not None and estimate.basis != "similar":
                continue
            notice(cell, None)
            dataset = evaluation_images(cell)
            device = "cuda" if torch.cuda.is_available() else "cpu"
            timing = measure_apart(cell, Load(dataset.size, cell.recipe.batch_size, PROBE_STEPS, device))
            if isinstance(timing, Failed):
                notice(cell, timing.reason)
            else:
                step = (timing.step_ms or 0.0) / 1000 * _balancing_factor(cell)
                self._probed[kind] = Speed(step, len(dataset) / timing.images_per_second)
            self._known.clear()


_LEVELS = 4


def _kinds(cell: Cell) -> Iterator[str]:
    """What a cell is, in ever wider terms; the first one leaves out only seed, length and learning rate."""
    recipe = cell.recipe
    size = f"{cell.dataset.canonical} {recipe.batch_size} {recipe.precision} {cell.backbone.canonical}"
    network = f"{size} {cell.method.canonical} {cell.tuning.canonical}"
    trains = cell.start.trains if cell.start else ""
    yield f"{network} {cell.tasks} {cell.left_out} {trains} {cell.balancer.canonical} {recipe.accumulate}"
    yield f"{network} {len(cell.tasks)} {cell.balancer.canonical}"
    yield f"{network} {len(cell.tasks)}"
    yield network


def _typical(speeds: list[Speed]) -> Speed:
    return Speed(
        statistics.median(speed.step for speed in speeds),
        statistics.median(speed.evaluation for speed in speeds),
    )


def _seconds(cell: Cell, speed: Speed) -> float:
    return steps_of(cell) * speed.step + speed.evaluation


def steps_of(cell: Cell) -> int:
    """Optimizer steps of a cell's training."""
    if cell.recipe.epochs is None:
        return cell.recipe.iterations
    data = cell.dataset.canonical, cell.holdout
    if data not in _TRAINING_IMAGES:
        from mtlbench.building import training_images  # slow to import

        _TRAINING_IMAGES[data] = len(training_images(cell, cell.tasks))
    return cell.recipe.steps(_TRAINING_IMAGES[data])


_TRAINING_IMAGES: dict[tuple[str, float], int] = {}


def _balancing_factor(cell: Cell) -> float:
    from mtlbench.balancing import Scalarization

    balancer = registry.load("balancer", cell.balancer.name)
    exact = not issubclass(balancer, Scalarization) and cell.balancer.options.get("at") in (
        None,
        "parameters",
    )
    return EXACT_FACTOR if exact and cell.balancer.options.get("every", 1) == 1 else 1.0
