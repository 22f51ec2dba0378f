"""Matches at every threshold of one image, from the highest threshold down.

Falling thresholds only add pixels, so maps, neighbourhoods and the matching of one threshold are the start
for the next. A warm start changes no result: the size of a maximum matching is unique.
"""

import numpy as np
from numba import njit

from mtlbench.boundary.matching import augment, find, match_greedily, put
from mtlbench.boundary.thinning import add_neighbours, thin_pixels


@njit(cache=True, nogil=True)
def sweep(
    pixels: np.ndarray,
    ends: np.ndarray,
    truth: np.ndarray,
    size: int,
    disc: np.ndarray,
    around: np.ndarray,
    removable: np.ndarray,
) -> np.ndarray:
    """Sizes of thinned maps and of their maximum matchings with the truth.

    Args:
        pixels: indices of predicted pixels, the strongest first, int32.
        ends: how many of them each threshold has, ascending (K,) int64; the highest threshold comes first.
        truth: indices of the true pixels, int32.
        size: pixels of the canvas, a multiple of 64.
        disc: see `matching.Canvas`.
        around: see `thinning.flat_neighbours`.
        removable: `thinning.REMOVABLE`.

    Returns:
        (K, 2) int64: matched pairs and thinned pixels.
    """
    true_words, free = np.zeros(size // 64, np.uint64), np.zeros(size // 64, np.uint64)
    for q in truth:
        put(true_words, q)
        put(free, q)
    base, base_codes, waiting = np.zeros(size, np.uint8), np.zeros(size, np.uint8), np.zeros(size, np.uint8)
    partner, other_partner = np.full(size, -1, np.int32), np.full(size, -1, np.int32)
    parent = np.empty(size, np.int32)
    stack, seen = np.empty((2, max(pixels.size, truth.size) + 1), np.int32)
    near, current = np.empty((2, pixels.size), np.int32)
    nears, matched, begin = 0, 0, 0
    counts = np.zeros((ends.size, 2), np.int64)
    for k in range(ends.size):
        if ends[k] == begin:
            counts[k] = counts[max(k - 1, 0)]
            continue
        for p in pixels[begin : ends[k]]:
            base[p] = 1
            if find(true_words, p, disc) >= 0:
                near[nears] = p
                nears += 1
        add_neighbours(base_codes, pixels[begin : ends[k]], around)
        begin = ends[k]
        present = base.copy()
        counts[k, 1] = thin_pixels(present, base_codes.copy(), pixels[:begin], around, removable, waiting)
        count, lost = _keep(near[:nears], present, partner, other_partner, free, current)
        found = current[:count]
        matched += match_greedily(found, free, disc, partner, other_partner) - lost
        if count <= truth.size:  # fewer searches from there
            words = true_words.copy()
            matched += augment(found, words, disc, partner, other_partner, parent, stack, seen)
        else:
            words = np.zeros(size // 64, np.uint64)
            for p in found:
                put(words, p)
            matched += augment(truth, words, disc, other_partner, partner, parent, stack, seen)
        counts[k, 0] = matched
    return counts


@njit(cache=True, nogil=True)
def _keep(
    near: np.ndarray,
    present: np.ndarray,
    partner: np.ndarray,
    other_partner: np.ndarray,
    free: np.ndarray,
    current: np.ndarray,
) -> tuple[int, int]:
    """Write what is still present to `current`, and part pairs whose pixel has gone; how many of each."""
    count, lost = 0, 0
    for p in near:
        if present[p]:
            current[count] = p
            count += 1
        elif partner[p] >= 0:
            put(free, partner[p])
            other_partner[partner[p]] = -1
            partner[p] = -1
            lost += 1
    return count, lost
