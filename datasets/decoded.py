"""Decoded images and labels of an archive: decoded once, mapped into memory, shared by all cells.

Decoding files takes most of the time of a training sample; mapped arrays cost nothing to open, are read only
where a crop needs them, and share the page cache between processes. They lie in the folder that the
environment variable MTLBENCH_CACHE names ("off": nowhere), by default in `.mtlbench-cache` in the archive's
root. They are exactly what `Archive.decode` gives, so results don't depend on them.
"""

import hashlib
import json
import logging
import os
import shutil
import threading
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.tv_tensors import TVTensor

from mtlbench.errors import DataError
from mtlbench.labels import ClassMap, Depth, Disparity, Normals

from . import cache, files, parallel

log = logging.getLogger(__name__)
VARIABLE = "MTLBENCH_CACHE"
DATA = "samples.bin"
KINDS: dict[str, type[TVTensor]] = {
    kind.__name__: kind for kind in (tv_tensors.Image, ClassMap, Depth, Disparity, Normals)
}
ALIGNMENT = 64
Maps = dict[str, TVTensor]


class DecodedSamples:
    """The decoded samples of one split, by id.

    Args:
        folder: where `make` put them.

    Raises:
        OSError, ValueError, KeyError: they are not there, or not whole.
    """

    def __init__(self, folder: Path) -> None:
        content = json.loads((folder / cache.MANIFEST).read_text(encoding="utf-8"))
        self.folder = folder
        self._entries: dict[str, list[list[Any]]] = content["samples"]
        if (folder / DATA).stat().st_size != content["bytes"]:
            raise ValueError(f"{folder / DATA} must have {content['bytes']} bytes")
        self._bytes = self._map()

    def read(self, name: str, wanted: Collection[str]) -> Maps:
        """Those of an image's maps that are wanted and that it has; views of the file."""
        found: Maps = {}
        for what, kind, dtype, shape, offset in self._entries[name]:
            if what in wanted:
                size = np.dtype(dtype).itemsize * int(np.prod(shape))
                array = self._bytes[offset : offset + size].view(dtype).reshape(shape)
                found[what] = KINDS[kind](torch.from_numpy(array))
        return found

    def _map(self) -> np.ndarray:
        # copy-on-write: tensors want writable memory, and the file must not change
        return np.asarray(np.memmap(self.folder / DATA, mode="c"))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_bytes": None}  # pickled, mapped arrays would become copies

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._bytes = self._map()

    @classmethod
    def open(cls, folder: Path | None) -> Self | None:
        """The samples, or None where they were not made or are damaged."""
        if folder is None or not folder.exists():
            return None
        try:
            return cls(folder)
        except (OSError, ValueError, KeyError) as error:
            log.warning("decoded samples are not used, since %s", error)
            return None


def folder_of(root: Path, split: str, options: str, paths: Sequence[Path], code: str) -> Path | None:
    """Where the decoded samples of a split are kept, or None for nowhere.

    The name's first part says of what; its second follows from the files (names, sizes, times) and the code
    that decodes them.

    Args:
        root: of the archive.
        split: its name.
        options: of the data set, as far as they change what is decoded.
        paths: of all files of the split.
        code: a checksum of the code that decodes them.
    """
    chosen = os.environ.get(VARIABLE, "")
    if chosen == "off":
        return None
    of = hashlib.sha256(f"{root.resolve()}:{options}".encode()).hexdigest()[:8]
    state = hashlib.sha256(f"{code}:{files.stamp(paths)}".encode())
    parent = Path(chosen) if chosen else root / ".mtlbench-cache"
    return parent / f"{split}-{of}-{state.hexdigest()[:8]}"


def make(folder: Path, ids: Sequence[str], decode: Callable[[str], Maps]) -> None:
    """Decode all samples into `folder`, which appears whole or not at all; older ones of the same split go.

    Too little space on the disk, a folder that can't be written, or a damaged file of the archive is said in
    a warning and leaves nothing: cells then decode for themselves, and fail where the damage is.

    Args:
        folder: from `folder_of`.
        ids: of the split's images.
        decode: id -> image and labels.
    """
    if DecodedSamples.open(folder) is not None:
        return
    try:
        needed = sum(value.numel() * value.element_size() for value in decode(ids[0]).values()) * len(ids)
        folder.parent.mkdir(parents=True, exist_ok=True)
        if (free := shutil.disk_usage(folder.parent).free) < 1.1 * needed:
            text = "%s has %.1f GB free, decoded samples need %.1f: not kept (%s names another folder)"
            log.warning(text, folder.parent, free / 1e9, needed / 1e9, VARIABLE)
            return
        log.info("decoding %d samples once, to %s (%.1f GB)", len(ids), folder, needed / 1e9)
        if folder.exists():
            cache.discard(folder)
        with cache.staged(folder) as staging:
            _write(staging, ids, decode, f"decoding {folder.name}")
        _remove_older(folder)
    except (OSError, DataError) as error:
        log.warning("samples are not kept decoded, since %s", error)


def _write(staging: Path, ids: Sequence[str], decode: Callable[[str], Maps], what: str) -> None:
    lock, end = threading.Lock(), 0
    with (staging / DATA).open("wb") as file:

        def one(index: int) -> list[list[Any]]:
            nonlocal end
            entries = []
            for what, value in decode(ids[index]).items():
                array = np.ascontiguousarray(value.as_subclass(Tensor).numpy())
                with lock:
                    offset = end
                    end += -(-array.nbytes // ALIGNMENT) * ALIGNMENT
                os.pwrite(file.fileno(), array.data, offset)
                entries.append([what, type(value).__name__, array.dtype.str, array.shape, offset])
            return entries

        samples = dict(zip(ids, parallel.each(one, len(ids), what), strict=True))
        file.truncate(end)
    content = {"bytes": end, "samples": samples}
    (staging / cache.MANIFEST).write_text(json.dumps(content), encoding="utf-8")


def _remove_older(folder: Path) -> None:
    """Those that differ in the name's last part; whoever has them mapped keeps them until it ends."""
    for other in folder.parent.glob(f"{folder.name.rsplit('-', 1)[0]}-*"):
        if other != folder:
            shutil.rmtree(other, ignore_errors=True)
