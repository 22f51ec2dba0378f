"""Checkpoints: written whole or not at all, checked before use, read without running code from the file.

torch writes zip archives that hold a CRC of every record, which `torch.load` doesn't look at.
"""

from __future__ import annotations

import logging
import zipfile
from pathlib import Path
from typing import IO, Any

import torch

from mtlbench.files import full_disk, is_full, replacing, set_aside
from mtlbench.folder import previous

log = logging.getLogger(__name__)


def save(path: Path, state: dict[str, Any]) -> None:
    """Write `state` so that `path` holds either the old file or the whole new one.

    Raises:
        OSError: the disk is full, say; the old file is as it was.
    """
    _save(path, state)


def save_progress(path: Path, state: dict[str, Any]) -> None:
    """The same for a checkpoint that training can do without.

    The one before it is kept beside it; on a full disk both stay as they are.
    """
    try:
        _save(path, state, keep=previous(path))
    except OSError as error:
        if not is_full(error):
            raise
        log.warning("training goes on without a new checkpoint (%s): %s", error, full_disk(path.parent))


def load(path: Path) -> dict[str, Any] | None:
    """The checkpoint, on the CPU; None where there is none that is whole.

    A damaged one is set aside, and the one before it is taken, if there is one: training makes the same steps
    again.
    """
    for file in (path, previous(path)):
        state = _load(file)
        if state is not None:
            if file != path:
                log.warning("going on from the checkpoint before the last one, which is missing or damaged")
            return state
    return None


def whole(path: Path) -> bool:
    """Whether the file is there, and all its records agree with their checksums."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except Exception:  # damage makes the reader fail in any way
        return False


def _load(path: Path) -> dict[str, Any] | None:
    try:
        seen = path.stat()
    except FileNotFoundError:
        return None
    if whole(path):
        try:
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except (RuntimeError, ValueError) as error:  # what zipfile forgives in a directory, torch need not
            log.warning("%s: %s", path, error)
        else:
            return state
    set_aside(path, seen)
    return None


def _save(path: Path, state: dict[str, Any], *, keep: Path | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path, keep=keep) as file:
        noting = _Noting(file)
        try:
            torch.save(state, noting)  # type: ignore[arg-type]  # it has all that is needed of a file
        except RuntimeError as error:  # torch's writer hides why it failed
            if noting.error is None:
                raise
            raise noting.error from error


class _Noting:
    """Passes bytes on to a file, and keeps the first error."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        try:
            return self._file.write(data)
        except OSError as error:
            self.error = self.error or error
            raise

    def flush(self) -> None:
        self._file.flush()
