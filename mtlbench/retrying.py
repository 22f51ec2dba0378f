"""Whether a cell that ended badly is tried again, and how."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from mtlbench.folder import Failure, RunFolder
from mtlbench.spec import Cell, Execution

PASSING = ("killed", "lost", "stuck", "disk_full")
"""Kinds of failure that are not the cell's own: it goes on from its last checkpoint."""
PAUSE_SECONDS = 5.0
"""Before a cell is started again after a failed write: the disk may have room then."""

log = logging.getLogger(__name__)


@dataclass
class Retries:
    """What was tried of each cell so far.

    A cell may be lost any number of times as long as it gets on in between: only tries that end at the
    checkpoint of the one before count.
    """

    execution: Execution
    _tries: dict[str, int] = field(default_factory=dict)
    _places: dict[str, int] = field(default_factory=dict)
    _accumulate: dict[str, int] = field(default_factory=dict)

    def accumulate(self, cell: Cell) -> int | None:
        """Micro-batches that this cell needs, where they are not the recipe's."""
        return self._accumulate.get(cell.id)

    def again(self, cell: Cell, failure: Failure, folder: RunFolder) -> float | None:
        """Seconds after which the cell should be started again, or None: it has failed."""
        if failure.kind == "out_of_memory" and self.execution.auto_microbatch:
            return self._smaller(cell)
        if failure.kind not in PASSING or not self._tries_left(cell, folder):
            return None
        log.info("%s: %s: going on from its last checkpoint", cell.id, failure.message)
        return PAUSE_SECONDS if failure.kind == "disk_full" else 0.0

    def _tries_left(self, cell: Cell, folder: RunFolder) -> bool:
        place = _place(folder)
        self._tries[cell.id] = 1 + (self._tries.get(cell.id, 0) if place == self._places.get(cell.id) else 0)
        self._places[cell.id] = place
        return self._tries[cell.id] <= self.execution.retries

    def _smaller(self, cell: Cell) -> float | None:
        """The next number of micro-batches that divides the batch among the devices."""
        recipe, now = cell.recipe, self._accumulate.get(cell.id, cell.recipe.accumulate)
        sizes = range(now + 1, recipe.batch_size + 1)
        more = next((n for n in sizes if recipe.batch_size % (n * self.execution.devices) == 0), None)
        if more is None:
            return None
        log.warning("%s did not fit into memory: trying %d micro-batches a step", cell.id, more)
        self._accumulate[cell.id] = more
        return 0.0


def _place(folder: RunFolder) -> int:
    """Tells one checkpoint from the next."""
    try:
        return folder.checkpoint.stat().st_mtime_ns
    except OSError:
        return 0
