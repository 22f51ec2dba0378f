"""Curves of cells in the tools that people watch them with, beside `history.jsonl`, which stays the truth.

A tracker starts with what the history holds: a cell that goes on after whatever happened has each line once.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

from mtlbench.errors import MissingExtra
from mtlbench.folder import Result, RunFolder
from mtlbench.spec import Cell

MODULES = {"tensorboard": "mtlbench.tracking_tensorboard", "wandb": "mtlbench.tracking_wandb"}
"""Where the `start(cell, folder, earlier)` of each tracker is; its name is that of the package it needs."""
POSITION = ("step", "iterations")
"""What a line says of itself; the rest of it are values."""

log = logging.getLogger(__name__)


class Tracker(Protocol):
    """What draws the curves of one cell. Whatever it raises ends it, not the cell."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Take in the numbers of a step, by names like `losses/depth`."""

    def finish(self, scores: Mapping[str, float]) -> None:
        """Take in the final numbers, none for a cell that was stopped, and let go of everything."""


class Trackers:
    """All that a cell is tracked by.

    Args:
        names: of trackers.
        cell: whose curves they are.
        folder: its own; the history there has been cut to where training goes on.
    """

    def __init__(
        self, names: Iterable[str] = (), cell: Cell | None = None, folder: RunFolder | None = None
    ) -> None:
        self._trackers: dict[str, Tracker] = {}
        for name in names:
            assert cell is not None
            assert folder is not None
            try:
                start = importlib.import_module(MODULES[name]).start
                self._trackers[name] = start(cell, folder, _earlier(folder))
            except Exception as error:  # whatever a foreign package does
                _warn(name, error)

    def log(self, line: Mapping[str, Any]) -> None:
        """Hand on a line of the history."""
        values = values_of(line)
        for name, tracker in list(self._trackers.items()):
            try:
                tracker.log(line["step"], values)
            except Exception as error:
                self._drop(name, error)

    def finish(self, result: Result | None = None) -> None:
        """Hand on scores and costs, and stop."""
        found = {} if result is None else {"scores": result.scores, "costs": result.costs.model_dump()}
        for name, tracker in list(self._trackers.items()):
            try:
                tracker.finish(values_of(found))
            except Exception as error:
                self._drop(name, error)
        self._trackers = {}

    def _drop(self, name: str, error: Exception) -> None:
        del self._trackers[name]
        _warn(name, error)


def check(names: Iterable[str]) -> None:
    """See that what trackers need is installed.

    Raises:
        MissingExtra: it is not.
    """
    for name in names:
        found = importlib.util.find_spec(name)
        if found is None or found.origin is None:  # a folder of that name is no package
            raise MissingExtra(name, "track", f"`execution.track: [{name}]`")


def values_of(line: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a line of history, by names that say where in it they stood."""
    return {name: value for name, value in _flatten(line) if name not in POSITION}


def _flatten(part: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for key, value in part.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}/")
        elif isinstance(value, int | float):
            yield f"{prefix}{key}", float(value)
        elif isinstance(value, list):  # cosines: two tasks and a number
            yield from ((f"{prefix}{key}/{e[0]}-{e[1]}", float(e[2])) for e in value if len(e) == 3)


def _earlier(folder: RunFolder) -> list[tuple[int, dict[str, float]]]:
    """Steps and numbers of the history so far, and the scores on the way."""
    files = [file for file in (folder.history, folder.evaluations) if file.exists()]
    lines = [json.loads(line) for file in files for line in file.read_bytes().splitlines()]
    return [(line["step"], values_of(line)) for line in sorted(lines, key=lambda line: line["step"])]


def _warn(name: str, error: Exception) -> None:
    log.warning("%s no longer tracks this cell: %s: %s", name, type(error).__name__, error)
