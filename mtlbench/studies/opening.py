"""Studies are begun, found again, and put back where their storage has lost them."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
from pydantic import ValidationError

from mtlbench.files import set_aside
from mtlbench.search.plans import StudyPlan
from mtlbench.studies.recording import frozen_trial
from mtlbench.studies.records import Direction, StudyRecord, read_studies, studies_folder
from mtlbench.studies.storage import Storage, quiet

log = logging.getLogger(__name__)


def read_study(root: Path, name: str) -> StudyRecord | None:
    """The record of one study; a damaged one is set aside."""
    file = studies_folder(root) / f"{name}.json"
    try:
        return StudyRecord.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError:
        set_aside(file)
        return None


def open_study(
    plan: StudyPlan,
    storage: Storage,
    name: str,
    directions: Sequence[Direction],
    known: StudyRecord | None,
) -> optuna.Study:
    """The study of a plan, with the trials that it ever had; a new one begins with the defaults.

    Its caller holds the study's claim, so that nobody else does the same.

    Args:
        plan: what is tuned.
        storage: where it is kept.
        name: of the study there.
        directions: of its objectives.
        known: its record as it was last written.
    """
    with quiet():
        study = optuna.create_study(
            storage=storage.optuna, study_name=name, directions=directions, load_if_exists=True
        )
        there = len(study.get_trials(deepcopy=False))
        if known is not None and there < len(known.trials):
            lost = known.trials[there:]
            log.warning("%s has lost %d trials of %s: put back", storage.place, len(lost), plan.name)
            study.add_trials([frozen_trial(trial, plan.space) for trial in lost])
        elif not there:
            study.enqueue_trial(default_parameters(plan))
    return study


def drop_study(storage: Storage, name: str, root: Path, plan: StudyPlan) -> None:
    """Forget a study; its record and what was written of it are put aside, its cells stay."""
    with quiet():
        if name in optuna.get_all_study_names(storage.optuna):
            optuna.delete_study(study_name=name, storage=storage.optuna)
    aside = root / "superseded" / f"study-{plan.name}.{datetime.now():%Y%m%d-%H%M%S}"
    for found in (studies_folder(root) / f"{plan.name}.json", studies_folder(root) / plan.name):
        if found.exists():
            aside.mkdir(parents=True, exist_ok=True)
            shutil.move(found, aside / found.name)


def default_parameters(plan: StudyPlan) -> dict[str, Any]:
    """Flat parameters of the trial that has the defaults."""
    found: dict[str, Any] = {}
    for key, domain in plan.space.items():
        found |= domain.parameters(plan.defaults[key], key)
    return found


def begun_otherwise(plan: StudyPlan, grid: str, root: Path) -> str | None:
    """Name of an earlier study of the same setting, which a change of the grid has left behind."""
    known = [s for s in read_studies(root, grid) if s.name != plan.name and s.grid == grid]
    same = [study.name for study in known if study.labels == plan.setting.labels()]
    return None if not same or read_study(root, plan.name) is not None else same[-1]
