"""Curves for Weights & Biases: into the run folder unless WANDB_MODE or WANDB_API_KEY says otherwise."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import wandb

from mtlbench.folder import RunFolder
from mtlbench.spec import Cell

LONGEST_ID = 128
"""Characters that a run's id may have; ours end with what tells them apart."""
INIT_SECONDS = 30.0
"""How long a server may take to answer at the start."""


class WeightsAndBiases:
    """Hands on to a run that has begun."""

    def __init__(self, run: Any) -> None:
        self._run = run

    def log(self, step: int, values: Mapping[str, float]) -> None:
        if step >= self._run.step:  # else the server has it from before the cell was stopped
            self._run.log(dict(values), step=step)

    def finish(self, scores: Mapping[str, float]) -> None:
        self._run.summary.update(dict(scores))
        self._run.finish()


def start(
    cell: Cell, folder: RunFolder, earlier: Iterable[tuple[int, Mapping[str, float]]]
) -> WeightsAndBiases:
    """The run of the cell's id, in the group of its grid, with what the server lacks of the history."""
    mode: Any = os.environ.get("WANDB_MODE") or ("online" if os.environ.get("WANDB_API_KEY") else "offline")
    if mode == "offline":  # all of the history is written again
        shutil.rmtree(folder.path / "wandb", ignore_errors=True)
    run = wandb.init(
        project=os.environ.get("WANDB_PROJECT", "mtlbench"),
        id=folder.path.name[-LONGEST_ID:],
        name=folder.path.name,
        group=_grid_of(folder.path),
        config=cell.model_dump(mode="json"),
        dir=str(folder.path),
        mode=mode,
        resume="allow" if mode == "online" else None,
        reinit="finish_previous",
        settings=wandb.Settings(silent=True, console="off", init_timeout=INIT_SECONDS),
    )
    tracker = WeightsAndBiases(run)
    for step, values in earlier:
        tracker.log(step, values)
    return tracker


def _grid_of(cell: Path) -> str | None:
    """The first grid of the folder of runs that has the cell."""
    wanted = f'"{cell.name}"'.encode()
    files = sorted((cell.parent.parent / "grids").glob("*.json"))
    return next((file.stem for file in files if wanted in file.read_bytes()), None)
