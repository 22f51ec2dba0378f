"""Files that are written entirely or not at all, on full disks too, and known as damaged where they are."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""No space, no quota, longer than the file system or a limit of the process allows."""
CHECKSUM = "checksum"
_SEAL = re.compile(rb',\n "checksum": "([0-9a-f]{64})"\n}\Z')

log = logging.getLogger(__name__)


def write_atomically(path: Path, text: str, *, sync: bool = True) -> None:
    """Either the old file or the whole new one, whenever the machine stops or the disk is full.

    Unless `sync`, a file that was just written may be empty after a power cut: for what can be written again.

    Raises:
        OSError: it could not be written; the old file is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path, sync=sync) as file:
        file.write(text.encode())


@contextmanager
def replacing(path: Path, *, sync: bool = True, keep: Path | None = None) -> Iterator[IO[bytes]]:
    """A file to write to that takes the place of `path` when the block ends, and goes where it fails.

    Under the name `keep` the old file stays beside the new one.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            if sync:
                os.fsync(file.fileno())
        if keep is not None and path.exists():
            _link(path, keep)
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def _link(path: Path, second: Path) -> None:
    """Give a file a second name, so that the first is there at any moment."""
    temporary = second.with_name(f".{second.name}.{os.getpid()}")
    with suppress(FileNotFoundError):
        temporary.unlink()
    try:
        os.link(path, temporary)
    except OSError as error:  # a file system without links
        log.debug("%s is not kept: %s", path, error)
    else:
        os.replace(temporary, second)


def clean_leftovers(folder: Path, names: tuple[str, ...]) -> None:
    """Remove the temporary files of these names that killed processes left; nobody must be writing them."""
    for name in names:
        for file in folder.glob(f".{name}.*"):
            with suppress(OSError):
                file.unlink()
                log.info("removed %s, which a process that was killed has left", file)


def seal(text: str) -> str:
    """A JSON object, indented by 1, with a checksum of all the rest as its last key."""
    body = text.rstrip().removesuffix("}").rstrip()
    digest = hashlib.sha256(body.encode()).hexdigest()
    return f'{body},\n "{CHECKSUM}": "{digest}"\n}}'


def unseal(data: bytes, *, last_keys: tuple[str, ...]) -> dict[str, Any] | None:
    """The object without its checksum; None where it is damaged.

    A file from before there were checksums ends with one of `last_keys`.
    """
    if is_damaged(data):
        return None
    try:
        content = json.loads(data)
    except ValueError:  # bytes that are no text are one, too
        return None
    if not isinstance(content, dict) or not content:
        return None
    if CHECKSUM in content:
        del content[CHECKSUM]
        return content if _SEAL.search(data) else None
    return content if list(content)[-1] in last_keys else None


def is_damaged(data: bytes) -> bool:
    """Whether a checksum says so; there may be none."""
    found = _SEAL.search(data, max(0, len(data) - 200))
    return found is not None and hashlib.sha256(data[: found.start()]).hexdigest().encode() != found[1]


def set_aside(path: Path, seen: os.stat_result | None = None) -> None:
    """Rename a damaged file to `damaged-NAME`, in place of an earlier one.

    Where `seen` tells what was found to be damaged, a file that has taken its place since then stays.
    """
    with suppress(FileNotFoundError):  # another process was faster
        now = path.stat()
        if seen is None or (now.st_ino, now.st_mtime_ns) == (seen.st_ino, seen.st_mtime_ns):
            os.replace(path, path.with_name(f"damaged-{path.name}"))
            log.warning("%s is damaged: set aside as damaged-%s", path, path.name)


def is_full(error: BaseException | None) -> bool:
    """Whether a full disk is behind an error."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in FULL:
            return True
        error = error.__cause__ or error.__context__
    return False


def full_disk(path: Path) -> str:
    """What to tell where `path` could not be written, because the disk is full."""
    try:
        free = f"{shutil.disk_usage(path).free / 2**20:.0f} MiB are free"
    except OSError as error:
        free = f"how much is free can't be found out ({error})"
    return (
        f"no room to write in {path}: {free}, if no quota is in the way; make room, then run it again: it "
        "goes on from its last checkpoint"
    )
