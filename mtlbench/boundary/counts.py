"""Counts of one image: what all scores are made of."""

import math
from collections.abc import Sequence

import numpy as np

from mtlbench.boundary.matching import Canvas
from mtlbench.boundary.nms import suppress
from mtlbench.boundary.protocols import Protocol
from mtlbench.boundary.sweep import sweep
from mtlbench.boundary.thinning import REMOVABLE, flat_neighbours


def count_image(prediction: np.ndarray, truth: np.ndarray, protocol: Protocol) -> np.ndarray:
    """Counts of an 8-bit prediction as a protocol reads it.

    Args:
        prediction: (H, W) uint8, strength * 255.
        truth: (H, W) bool, thinned boundaries (`mtlbench.boundary.truth`).
        protocol: says what is a boundary, and what matches.

    Returns:
        See `count_matches`.
    """
    strength = suppress(prediction.astype(np.float32) / np.float32(255)) if protocol.nms else prediction / 255
    return count_matches(
        strength, truth, thresholds=protocol.thresholds, max_dist=protocol.max_dist, strict=protocol.strict
    )


def count_matches(
    strength: np.ndarray, truth: np.ndarray, *, thresholds: Sequence[float], max_dist: float, strict: bool
) -> np.ndarray:
    """Compare the thinned map of every threshold with the truth.

    Args:
        strength: (H, W) floats in [0, 1].
        truth: (H, W) bool, boundaries as they shall count (thinned).
        thresholds: ascending, the lowest at least 0.
        max_dist: how far apart matched pixels may be, as a share of the diagonal.
        strict: a pixel is predicted where its strength is > t, else where it is >= t.

    Returns:
        (thresholds, 4) int64: cntR, sumR, cntP, sumP; matched and all true pixels, matched and all predicted
        ones. With one ground truth cntR = cntP, the size of a maximum matching.
    """
    assert strength.shape == truth.shape, f"shapes must agree, got {strength.shape} and {truth.shape}"
    height, width = strength.shape
    canvas = Canvas.around(height, width, max_dist * math.sqrt(height * height + width * width))
    placed = canvas.place(strength)
    pixels = np.flatnonzero(placed)
    levels = np.searchsorted(thresholds, placed[pixels], side="left" if strict else "right")
    order = np.argsort(-levels.astype(np.int16), kind="stable")  # stable sorting of 16 bits is a radix sort
    reached = np.bincount(levels, minlength=len(thresholds) + 1)[:0:-1].cumsum()  # the highest comes first
    true_pixels = np.flatnonzero(canvas.place(truth)).astype(np.int32)
    found = sweep(
        pixels[order[: reached[-1]]].astype(np.int32),
        reached.astype(np.int64),
        true_pixels,
        placed.size,
        canvas.disc,
        flat_neighbours(canvas.shape[1]),
        REMOVABLE,
    )[::-1]
    total = np.full(len(thresholds), true_pixels.size)
    return np.stack([found[:, 0], total, found[:, 0], found[:, 1]], axis=1)
