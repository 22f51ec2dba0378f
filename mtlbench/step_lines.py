"""Files of JSON lines that grow while a cell trains: each with the step that it is of."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path
from typing import Any

from mtlbench.files import write_atomically

log = logging.getLogger(__name__)


class StepLines:
    """One such file; whatever harms it, its whole lines can be read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._unwritten = ""

    def append(self, line: dict[str, Any]) -> None:
        """Write a line; what does not fit on a full disk is tried again with the next one."""
        self._unwritten += json.dumps(line) + "\n"
        try:
            with self.path.open("ab", buffering=0) as file:
                end, data = file.tell(), self._unwritten.encode()
                try:
                    written = file.write(data)
                    if written < len(data):
                        file.write(data[written:])  # raises: the disk had no room for the rest
                except OSError:
                    file.truncate(end)
                    raise
        except OSError as error:
            log.warning("%s can't be written now: %s", self.path, error)
        else:
            self._unwritten = ""

    def cut(self, step: int) -> None:
        """Drop the lines that came after a step, and what is no whole line."""
        if not self.path.exists():
            return
        before = self.path.read_bytes()
        kept = b"".join(line for line in before.splitlines(keepends=True) if _step(line) <= step)
        if kept != before:
            write_atomically(self.path, kept.decode())

    def last(self) -> dict[str, Any] | None:
        """The newest whole line."""
        if not self.path.exists():
            return None
        with self.path.open("rb") as file:
            file.seek(max(0, self.path.stat().st_size - 8192))
            lines = file.read().splitlines(keepends=True)
        whole = next((line for line in reversed(lines) if _step(line) < math.inf), None)
        return None if whole is None else json.loads(whole)


def _step(line: bytes) -> float:
    """Number of the step of a line; infinity where the line is damaged."""
    try:
        found = json.loads(line)["step"] if line.endswith(b"\n") else math.inf
    except (ValueError, TypeError, KeyError):
        return math.inf
    return found if isinstance(found, int) else math.inf
