"""Checks of an archive's files that need no decoding, and their checksums."""

import json
import os
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from mtlbench.checking import Finding
from mtlbench.errors import DataError

from . import files, parallel

MANIFEST = ".mtlbench-manifest.json"
ENDS = {".png": b"IEND\xaeB`\x82", ".jpg": b"\xff\xd9"}
"""Last bytes of whole files; JPEG files may be followed by zeros."""
LISTED = 20
"""Problems of one kind that are listed one by one."""
CHUNK = 1 << 20


def missing_files(title: str, paths: Mapping[str, Mapping[str, Path]]) -> Iterator[Finding]:
    """Files that should be there and are not; paths by id and what they hold."""
    try:
        files.require([path for found in paths.values() for path in found.values()])
    except DataError as error:
        yield Finding(f"{title}: files", str(error), "damaged")


def whole_files(title: str, paths: Mapping[str, Mapping[str, Path]]) -> Iterator[Finding]:
    """Files that are cut short or whose size differs from their image's, judged by first and last bytes."""
    problems = [problem for found in paths.values() for problem in _of_image(found)]
    for problem in problems[:LISTED]:
        yield Finding(f"{title}: files", problem, "damaged")
    if len(problems) > LISTED:
        yield Finding(f"{title}: files", f"{len(problems) - LISTED} more such files", "damaged")
    count = sum(path.exists() for found in paths.values() for path in found.values())
    if not problems:
        yield Finding(f"{title}: files", f"{count} files of {len(paths)} images are there and whole")


def _of_image(paths: Mapping[str, Path]) -> Iterator[str]:
    sizes: dict[Path, files.Size] = {}
    for path in paths.values():
        try:
            size = _size(path)
        except DataError as error:
            yield str(error)
            continue
        if size is not None:
            sizes[path] = size
    first = next(iter(sizes.values()), None)
    for path, size in sizes.items():
        if size != first:
            yield f"{path} must be {first[0]}x{first[1]} as its image is, found {size[0]}x{size[1]}"  # type: ignore[index]


def _size(path: Path) -> files.Size | None:
    """Height and width of a map, from its first bytes; None for other files."""
    if not path.exists():
        return None
    if not path.is_file():
        raise DataError(f"{path} must be a file")
    if path.suffix == ".npy":
        return files.array_size(path)
    if path.suffix not in ENDS:
        if path.stat().st_size == 0:
            raise DataError(f"{path} is empty")
        return None
    with path.open("rb") as file:
        file.seek(max(path.stat().st_size - 64, 0))
        if not file.read().rstrip(b"\0").endswith(ENDS[path.suffix].rstrip(b"\0")):
            raise DataError(f"{path} is cut short, after {path.stat().st_size} bytes")
    return files.image_size(path)


def checksums(
    root: Path, paths: Sequence[Path], progress: Callable[[int], None] | None = None
) -> tuple[dict[str, list[int]], list[Finding]]:
    """Size, time and CRC-32 of each file, by its path below `root`; kept there for the next time.

    Only files whose size or time changed since are read again. A root that can't be written to is no error:
    then nothing is kept.
    """
    known, found = _known(root), {}

    def one(index: int) -> list[int]:
        path = paths[index]
        state = path.stat()
        before = known.get(str(path.relative_to(root)))
        if progress is not None:
            progress(1)
        if before is not None and before[:2] == [state.st_size, state.st_mtime_ns]:
            return before
        return [state.st_size, state.st_mtime_ns, _crc(path)]

    for path, entry in zip(paths, parallel.each(one, len(paths), "checksums"), strict=True):
        found[str(path.relative_to(root))] = entry
    changed = [name for name, entry in found.items() if name in known and known[name][2] != entry[2]]
    findings = []
    if changed:
        text = f"{len(changed)} files changed since the last check, {changed[0]} among them"
        findings.append(Finding("checksums", text, "unusual"))
    _keep(root, {**known, **found})
    return found, findings


def combined(entries: Mapping[str, Sequence[int]]) -> str:
    """One checksum of many files: of their names, sizes and contents, not of their times."""
    value = 0
    for name in sorted(entries):
        value = zlib.crc32(f"{name}:{entries[name][0]}:{entries[name][2]};".encode(), value)
    return f"{value:08x}"


def known_checksum(root: Path, paths: Sequence[Path]) -> str | None:
    """The checksum of these files' contents, if a check has read them all as they are now."""
    known = _known(root)
    entries = {}
    for path in paths:
        name, state = str(path.relative_to(root)), path.stat()
        entry = known.get(name)
        if entry is None or entry[:2] != [state.st_size, state.st_mtime_ns]:
            return None
        entries[name] = entry
    return combined(entries)


def _known(root: Path) -> dict[str, list[int]]:
    try:
        content: dict[str, list[int]] = json.loads((root / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content


def _keep(root: Path, entries: Mapping[str, Sequence[int]]) -> None:
    staging = root / f"{MANIFEST}.{os.getpid()}"
    try:
        staging.write_text(json.dumps(entries), encoding="utf-8")
        os.replace(staging, root / MANIFEST)
    except OSError:
        staging.unlink(missing_ok=True)


def _crc(path: Path) -> int:
    value = 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            value = zlib.crc32(chunk, value)
    return value
