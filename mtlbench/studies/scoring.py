"""What a trial is worth: scores of its cells on the images that were held out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from mtlbench.delta_m import delta_m
from mtlbench.errors import MtlbenchError
from mtlbench.folder import Result
from mtlbench.histories import read_history
from mtlbench.spec import Cell
from mtlbench.store import Runs

Scores = dict[str, float]
"""Task -> value of its primary metric, unscaled."""


class ScoreReader:
    """Reads scores from run folders, those of finished cells once.

    Args:
        runs: where the folders are.
        tasks: that a trial is scored on.
    """

    def __init__(self, runs: Runs, tasks: tuple[str, ...]) -> None:
        self._runs, self._tasks = runs, tasks
        self._results: dict[str, Result] = {}

    def final(self, cells: Iterable[Cell]) -> Scores | None:
        """Of cells that make up one seed together; None until all are done."""
        scores: Scores = {}
        for cell in cells:
            result = self.result(cell)
            if result is None:
                return None
            scores |= {task: result.scores[task][record.metric] for task, record in result.tasks.items()}
        return {task: scores[task] for task in self._tasks}

    def on_the_way(self, cells: Iterable[Cell]) -> dict[int, Scores]:
        """Training step -> scores, at the steps at which all tasks were scored."""
        found: dict[int, Scores] = {}
        for cell in cells:
            for line in read_history(self._runs.folder(cell).evaluations):
                found.setdefault(line["step"], {}).update(line["scores"])
        return {step: scores for step, scores in sorted(found.items()) if set(self._tasks) <= set(scores)}

    def seconds(self, cells: Iterable[Cell]) -> float | None:
        """Of training and evaluation of those that are done; None where none is."""
        results = [result for cell in cells if (result := self.result(cell)) is not None]
        spent = [result.costs.train_seconds + result.costs.evaluate_seconds for result in results]
        return sum(spent) if spent else None

    def result(self, cell: Cell) -> Result | None:
        if cell.id not in self._results:
            result = self._runs.folder(cell).result()
            if result is None:
                return None
            self._results[cell.id] = result
        return self._results[cell.id]


def gain(scores: Mapping[int, Scores], reference: Mapping[int, Scores], higher: Mapping[str, bool]) -> float:
    """Mean over seeds of delta_m against the same seed of the reference, in percent.

    Raises:
        MtlbenchError: a score of the reference is 0, to which nothing has a relative gain.
    """
    for seed, values in reference.items():
        for task, value in values.items():
            if value == 0:
                raise MtlbenchError(
                    f"the baseline scores 0 in {task} (seed {seed}), so that no delta_m can be formed: train "
                    "it for longer, leave the task out, or set tune.objective: tasks"
                )
    return float(np.mean([delta_m(scores[seed], reference[seed], higher) for seed in scores]))


def means(scores: Mapping[int, Scores], tasks: Iterable[str]) -> Scores:
    """Over seeds."""
    return {task: float(np.mean([found[task] for found in scores.values()])) for task in tasks}
