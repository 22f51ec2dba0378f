"""What a study has found so far (`RUNS/studies/NAME.json`): for reports, and to begin again from."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from mtlbench.files import write_atomically
from mtlbench.search.checks import bound
from mtlbench.search.spaces import read_domain
from mtlbench.search.values import Known, flat, values_of

TrialState = Literal["waiting", "running", "complete", "pruned", "failed"]
Direction = Literal["maximize", "minimize"]

log = logging.getLogger(__name__)


class TrialRecord(BaseModel):
    """One trial.

    Attributes:
        parameters: by their flat names (`recipe.lr`, `balancer.weights.semseg`).
        values: of the objectives, in their order; None until it is complete.
        steps: objective as it was reported on the way: training step (or number of seeds) -> value.
        scores: task -> mean of its primary metric over the trial's seeds, unscaled.
        cells: ids of the cells that it consists of.
        seconds: of training and evaluation, all finished cells together; None without any.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    number: int
    state: TrialState
    parameters: dict[str, float | int | str | bool | None]
    values: list[float] | None = None
    steps: dict[int, float] = {}
    scores: dict[str, float] = {}
    cells: list[str] = []
    seconds: float | None = None


class StudyRecord(BaseModel):
    """A study and its trials, in the order of their numbers; trial 0 has the defaults.

    Attributes:
        name: also of its file.
        grid: the grid that it belongs to.
        labels: of its setting, by axis (dataset, backbone, method, ...).
        objective: `delta_m`, or the names of all tasks.
        directions: of each objective, `maximize` or `minimize`.
        space: tuned key -> its domain, as grid files write it.
        defaults: tuned key -> value of trial 0.
        holdout: share of the training images that trials are scored on.
        seeds: of each trial.
        best: numbers of the best trials: one, or the Pareto front.
        settings: of each of these, the part of a grid file that says the same.
        storage: the URL or file of the Optuna storage.
        comparison: the grid that compares best and default on the validation images, once it has run.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    grid: str
    labels: dict[str, str]
    objective: list[str]
    directions: list[Direction]
    space: dict[str, Any]
    defaults: dict[str, Any]
    holdout: float
    seeds: list[int]
    trials: list[TrialRecord] = []
    best: list[int] = []
    settings: list[dict[str, Any]] = []
    storage: str = ""
    comparison: str | None = None

    def used(self, trial: TrialRecord) -> dict[str, Any]:
        """The values that a trial's cells have, by flat names: where they differ from what was drawn, as
        weights of tasks do, whose sum is kept. Empty where not all is drawn yet.
        """
        space = {key: bound(read_domain(written), self.defaults[key]) for key, written in self.space.items()}
        try:
            return flat(values_of(space, self.defaults, Known(trial.parameters)))
        except KeyError:
            return {}


def studies_folder(root: Path) -> Path:
    """Where a folder of runs keeps its studies."""
    return root / "studies"


def write_study(root: Path, study: StudyRecord) -> None:
    studies_folder(root).mkdir(parents=True, exist_ok=True)
    write_atomically(studies_folder(root) / f"{study.name}.json", study.model_dump_json(indent=1))


def read_studies(root: Path, grid: str) -> list[StudyRecord]:
    """The studies of a grid, by name; a damaged file is named and left out."""
    found = []
    for file in sorted(studies_folder(root).glob("*.json")):
        try:
            study = StudyRecord.model_validate_json(file.read_bytes())
        except (OSError, ValidationError) as error:
            log.warning("%s can't be read (%s): `mtlbench tune` writes it anew", file, error)
            continue
        if study.grid == grid or study.comparison == grid:
            found.append(study)
    return found
