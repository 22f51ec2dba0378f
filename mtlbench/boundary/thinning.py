"""Thinning of binary maps to lines one pixel wide.

The rule is MATLAB's `bwmorph(map, 'thin', Inf)`, by Lam, Lee and Suen, "Thinning methodologies: a
comprehensive survey", IEEE TPAMI 14 (1992), page 879: two sub-iterations in turn until neither removes a
pixel, where all removals of a sub-iteration happen at once. Only pixels whose neighbourhood changed are
looked at again, so that the work is in proportion to the pixels that vanish.
"""

import numpy as np
from numba import njit

AROUND = ((0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1), (1, 0), (1, 1))
"""The neighbours x1 to x8 of the paper as (rows down, columns right); bit k of a code is set for x(k+1)."""


def _removable() -> np.ndarray:
    """(2, 256) uint8: which neighbourhoods lose their centre in the first and in the second sub-iteration."""
    table = np.zeros((2, 256), np.uint8)
    for code in range(256):
        x = [bool(code >> k & 1) for k in range(8)] * 2  # x[i] is the paper's x(i+1); wraps around
        crossings = sum(not x[i] and (x[i + 1] or x[i + 2]) for i in (0, 2, 4, 6))
        first = sum(x[i] or x[i + 1] for i in (0, 2, 4, 6))
        second = sum(x[i + 1] or x[i + 2] for i in (0, 2, 4, 6))
        if crossings == 1 and 2 <= min(first, second) <= 3:
            table[0, code] = not ((x[1] or x[2] or not x[7]) and x[0])
            table[1, code] = not ((x[5] or x[6] or not x[3]) and x[4])
    return table


REMOVABLE = _removable()


def flat_neighbours(stride: int) -> np.ndarray:
    """`AROUND` as differences of flat indices of an image with rows of `stride` pixels, (8,) int64."""
    return np.array([down * stride + right for down, right in AROUND], np.int64)


def thin(boundary: np.ndarray) -> np.ndarray:
    """Any map (H, W), nonzero = boundary -> its thinned map, (H, W) bool."""
    height, width = boundary.shape
    stride = width + 2
    present = np.zeros((height + 2, stride), np.uint8)
    present[1:-1, 1:-1] = boundary != 0
    pixels = np.flatnonzero(present).astype(np.int32)
    flat, codes = present.ravel(), np.zeros(present.size, np.uint8)
    around = flat_neighbours(stride)
    add_neighbours(codes, pixels, around)
    thin_pixels(flat, codes, pixels, around, REMOVABLE, np.zeros(flat.size, np.uint8))
    return present[1:-1, 1:-1] != 0


@njit(cache=True, nogil=True)
def add_neighbours(codes: np.ndarray, pixels: np.ndarray, around: np.ndarray) -> None:
    """Tell the neighbours of newly present `pixels`; `codes` are flat, (N,) uint8."""
    for p in pixels:
        for k in range(8):
            codes[p + around[k]] |= np.uint8(1 << (k ^ 4))  # seen from there, p lies opposite


@njit(cache=True, nogil=True)
def thin_pixels(
    present: np.ndarray,
    codes: np.ndarray,
    pixels: np.ndarray,
    around: np.ndarray,
    removable: np.ndarray,
    waiting: np.ndarray,
) -> int:
    """Thin in place; returns how many pixels are left.

    Args:
        present: flat map with a margin of one pixel, (N,) uint8.
        codes: neighbourhoods of its pixels, (N,) uint8.
        pixels: flat indices of all that is present, int32.
        around: see `flat_neighbours`.
        removable: `REMOVABLE`.
        waiting: (N,) uint8, all zero before and after: bit s says that sub-iteration s is to look again.
    """
    again, removed = np.empty((2, pixels.size), np.int32), np.empty(pixels.size, np.int32)
    queued, left, idle, step = np.zeros(2, np.int64), pixels.size, 0, 0
    while idle < 2:
        s = step & 1
        gone = 0
        for p in pixels if step < 2 else again[s, : queued[s]]:
            waiting[p] &= np.uint8(2 - s)  # clears bit s
            if removable[s, codes[p]] and present[p]:
                removed[gone] = p
                gone += 1
        queued[s] = 0
        _remove(present, codes, removed[:gone], around, waiting, again, queued, step == 0)
        left -= gone
        idle = 0 if gone else idle + 1
        step += 1
    for s in range(2):
        for p in again[s, : queued[s]]:
            waiting[p] = 0
    return left


@njit(cache=True, nogil=True)
def _remove(
    present: np.ndarray,
    codes: np.ndarray,
    removed: np.ndarray,
    around: np.ndarray,
    waiting: np.ndarray,
    again: np.ndarray,
    queued: np.ndarray,
    first: bool,
) -> None:
    """Take pixels away. Their neighbours wait for both sub-iterations; after the very first one only for
    that, as the second is still to see all pixels.
    """
    for p in removed:
        present[p] = 0
    for p in removed:
        for k in range(8):
            q = p + around[k]
            codes[q] &= np.uint8(255 ^ (1 << (k ^ 4)))
            if present[q]:
                for s in range(1 if first else 2):
                    if not waiting[q] >> s & 1:
                        waiting[q] |= np.uint8(1 << s)
                        again[s, queued[s]] = q
                        queued[s] += 1
