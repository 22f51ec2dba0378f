"""Scores a folder of predictions against a folder of ground truths."""

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from mtlbench.boundary import files
from mtlbench.boundary.counts import count_image
from mtlbench.boundary.protocols import Protocol
from mtlbench.boundary.scores import Scores, best_counts, scores
from mtlbench.boundary.truth import true_boundaries
from mtlbench.errors import DataError, MtlbenchError

Progress = Callable[[Iterable[np.ndarray], int], Iterable[np.ndarray]]


@dataclass(frozen=True)
class Pair:
    """The files of one image."""

    prediction: Path
    truth: Path


def pair_files(predictions: Path, truths: Path, ids: Path | None = None) -> list[Pair]:
    """Pairs by file name without suffix, sorted; checked from names and headers, so that nothing fails late.

    Args:
        predictions: folder of .png or .npy files.
        truths: folder of .png, .npy or .mat files.
        ids: a text file with one name a line: only these are scored. Default: all, which must be the same
            names on both sides.

    Raises:
        DataError: a folder or file is missing or of the wrong kind, or sizes differ.
    """
    ours = _by_name(predictions, files.PREDICTIONS)
    theirs = _by_name(truths, files.TRUTHS)
    names = sorted({*ours, *theirs}) if ids is None else _read_ids(ids)
    _require(names, ours, f"predictions in {predictions}")
    _require(names, theirs, f"ground truths in {truths}")
    pairs = [Pair(ours[name], theirs[name]) for name in names]
    for pair in pairs:
        found, expected = files.check_prediction(pair.prediction), files.check_truth(pair.truth)
        if found != expected:
            raise DataError(
                f"{pair.prediction} must have the size of {pair.truth}, {expected[0]}x{expected[1]} (height x"
                f" width), found {found[0]}x{found[1]}"
            )
    return pairs


def score_pairs(
    pairs: Sequence[Pair], protocol: Protocol, *, jobs: int | None = None, progress: Progress | None = None
) -> Scores:
    """Scores of all pairs, `jobs` images at a time.

    Args:
        pairs: as `pair_files` gives them.
        protocol: how to compare them.
        jobs: threads (kernels run beside each other). Default: the cores.
        progress: wraps the counts of each image as they are done, with their number.

    Raises:
        DataError: a file is damaged.
    """
    summed, best = np.zeros((len(protocol.thresholds), 4), np.int64), np.zeros(4, np.int64)
    threads = ThreadPoolExecutor(jobs or len(os.sched_getaffinity(0)))
    try:
        counted = threads.map(partial(count_pair, protocol=protocol), pairs)
        for counts in progress(counted, len(pairs)) if progress else counted:
            summed += counts
            best += best_counts(counts)
    finally:
        threads.shutdown(cancel_futures=True)  # after an error or Ctrl-C the rest isn't worth the wait
    return scores(summed, best, len(pairs))


def count_pair(pair: Pair, protocol: Protocol) -> np.ndarray:
    """Counts (thresholds, 4) of one image."""
    truth = true_boundaries(files.read_truth(pair.truth, protocol.truth), protocol.truth)
    return count_image(files.read_prediction(pair.prediction), truth, protocol)


def _by_name(folder: Path, suffixes: tuple[str, ...]) -> dict[str, Path]:
    if not folder.is_dir():
        raise DataError(f"the folder {folder} is required, but is not there")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix in suffixes and not path.name.startswith("."):
            if path.stem in found:
                raise DataError(
                    f"{folder} must have one file for {path.stem}, found {found[path.stem].name}"
                    f" and {path.name}"
                )
            found[path.stem] = path
    if not found:
        raise DataError(f"{folder} must hold {' or '.join(suffixes)} files, found none")
    return found


def _require(names: Sequence[str], present: dict[str, Path], what: str) -> None:
    missing = [name for name in names if name not in present]
    if missing:
        shown = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        raise DataError(f"{len(missing)} of {len(names)} {what} are missing: {shown}")


def _read_ids(path: Path) -> list[str]:
    try:
        names = path.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} must be a text file with one image name a line: {error}") from error
    if not names or len(set(names)) < len(names):
        raise MtlbenchError(f"{path} must name at least one image, and each once, found {len(names)} names")
    return names
