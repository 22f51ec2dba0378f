"""Curves for TensorBoard: `tensorboard --logdir RUNS/cells`."""

from __future__ import annotations

import shutil
import socket
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from mtlbench.folder import RunFolder
from mtlbench.spec import Cell


class TensorBoard:
    """Writes one file of events.

    Args:
        folder: made anew; what was in it goes.
    """

    def __init__(self, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self._last = 0
        file = folder / f"events.out.tfevents.{time.time():.0f}.{socket.gethostname()}"
        self._writer = RecordWriter(file.open("wb"))
        self._write(Event(file_version="brain.Event:2"))
        # a server that has read the file that was here before forgets what that said
        self._write(Event(step=0, session_log=SessionLog(status=SessionLog.START)))

    def log(self, step: int, values: Mapping[str, float]) -> None:
        summary = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        self._write(Event(step=step, summary=Summary(value=summary)))
        self._writer.flush()
        self._last = step

    def finish(self, scores: Mapping[str, float]) -> None:
        if scores:
            self.log(self._last, scores)
        self._writer.close()

    def _write(self, event: Event) -> None:
        event.wall_time = time.time()
        self._writer.write(event.SerializeToString())


def start(cell: Cell, folder: RunFolder, earlier: Iterable[tuple[int, Mapping[str, float]]]) -> TensorBoard:
    """In `tensorboard/` of the run folder, from the first line of the history on."""
    tracker = TensorBoard(folder.path / "tensorboard")
    for step, values in earlier:
        tracker.log(step, values)
    return tracker
