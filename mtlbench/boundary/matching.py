"""Maximum matchings between two sets of pixels, where pixels at most a radius apart may be matched.

The published evaluator (`correspondPixels`) minimises a cost in which leaving a pixel alone is dearer than
any distance, so that what it counts is the size of a maximum matching; here that size is exact.

Pixels are flat indices of a `Canvas`. A set of them is an array of 64-bit words, bit p & 63 of word p >> 6
for pixel p: so a disc of pixels is looked up in a word or two a row.
"""

import math
from dataclasses import dataclass

import numpy as np
from numba import njit

ONE = np.uint64(1)
ALL = np.uint64(0xFFFF_FFFF_FFFF_FFFF)


@dataclass(frozen=True)
class Canvas:
    """An image with margins so wide that a disc around any of its pixels needs no bounds.

    Attributes:
        shape: of the image with its margins; rows are a multiple of 64 pixels.
        margin: rows above and columns left of the image.
        disc: (rows of a disc, 2) int64, first and last pixel of each row relative to the centre's index, the
            nearest rows first.
    """

    shape: tuple[int, int]
    margin: int
    disc: np.ndarray

    @classmethod
    def around(cls, height: int, width: int, radius: float) -> "Canvas":
        """For images (height, width) and discs of all (y, x) with y^2 + x^2 <= radius^2 in float64."""
        margin = max(math.floor(radius), 0) + 1
        stride = -(-(width + 2 * margin) // 64) * 64
        disc = []
        for down in sorted(range(-margin, margin + 1), key=abs):
            inside = [k for k in range(margin + 1) if down * down + k * k <= radius * radius]
            if inside:
                disc.append((down * stride - inside[-1], down * stride + inside[-1]))
        return cls((height + 2 * margin, stride), margin, np.array(disc, np.int64))

    def place(self, image: np.ndarray) -> np.ndarray:
        """(height, width) -> the flat image with margins of 0."""
        canvas = np.zeros(self.shape, image.dtype)
        height, width = image.shape
        canvas[self.margin : self.margin + height, self.margin : self.margin + width] = image
        return canvas.ravel()


def _first_bits() -> tuple[np.ndarray, np.uint64]:
    """De Bruijn's table: (word with one bit * factor) >> 58 -> which bit it is."""
    factor = 0x03F79D71B4CB0A89
    table = np.zeros(64, np.int64)
    for bit in range(64):
        table[((factor << bit) & int(ALL)) >> 58] = bit
    return table, np.uint64(factor)


PLACES, FACTOR = _first_bits()
SHIFT = np.uint64(58)


@njit(cache=True, nogil=True)
def put(words: np.ndarray, pixel: int) -> None:
    """Add a pixel to a set."""
    words[pixel >> 6] |= ONE << np.uint64(pixel & 63)


@njit(cache=True, nogil=True)
def take(words: np.ndarray, pixel: int) -> None:
    """Take a pixel from a set."""
    words[pixel >> 6] &= ~(ONE << np.uint64(pixel & 63))


@njit(cache=True, nogil=True)
def between(words: np.ndarray, w: int, low: int, high: int) -> np.uint64:
    """Word `w` of a set, of which only the pixels `low` to `high` are wanted."""
    word = words[w]
    if w == low >> 6:
        word &= ALL << np.uint64(low & 63)
    if w == high >> 6:
        word &= ALL >> np.uint64(63 - (high & 63))
    return word


@njit(cache=True, nogil=True)
def find(words: np.ndarray, pixel: int, disc: np.ndarray) -> int:
    """A pixel of the set in reach of `pixel`, from a row as near as can be; -1 where there is none."""
    for row in range(disc.shape[0]):
        low, high = pixel + disc[row, 0], pixel + disc[row, 1]
        for w in range(low >> 6, (high >> 6) + 1):
            word = between(words, w, low, high)
            if word:
                return w * 64 + PLACES[((word & (~word + ONE)) * FACTOR) >> SHIFT]
    return -1


@njit(cache=True, nogil=True)
def match_greedily(
    pixels: np.ndarray, free: np.ndarray, disc: np.ndarray, partner: np.ndarray, other_partner: np.ndarray
) -> int:
    """Match unmatched `pixels` with what is `free` in reach; returns how many found one. See `augment`.

    Pixels of `free` that have a partner are taken from it as they are met.
    """
    matched = 0
    for p in pixels:
        q = -1 if partner[p] >= 0 else find(free, p, disc)
        while q >= 0:
            take(free, q)
            if other_partner[q] < 0:
                partner[p], other_partner[q] = q, p
                matched += 1
                break
            q = find(free, p, disc)
    return matched


@njit(cache=True, nogil=True)
def augment(
    roots: np.ndarray,
    unseen: np.ndarray,
    disc: np.ndarray,
    partner: np.ndarray,
    other_partner: np.ndarray,
    parent: np.ndarray,
    stack: np.ndarray,
    seen: np.ndarray,
) -> int:
    """Make a matching maximum, by augmenting paths from all unmatched `roots`.

    Searches go on from what they saw last, which is far away: that leads out of crowds sooner than going on
    from what is nearest. What a failed search saw can lie on no augmenting path any more (a Hungarian tree),
    and stays out of `unseen`; what a successful one saw comes back.

    Args:
        roots: all pixels of the one side, int32; matched ones are skipped.
        unseen: the set of all pixels of the other side; changed.
        disc: see `Canvas`.
        partner: pixel of the one side -> its partner on the other side, or -1; int32, changed.
        other_partner: the same the other way round.
        parent: scratch, int32, one entry a pixel.
        stack: scratch, int32, one entry more than a side has pixels.
        seen: scratch, int32, the same.

    Returns:
        How many pairs there are more.
    """
    gained = 0
    size = np.zeros(2, np.int64)  # of the stack, and of what was seen
    for root in roots:
        if partner[root] >= 0:
            continue
        stack[0], found = root, -1
        size[0], size[1] = 1, 0
        while found < 0 and size[0] > 0:
            size[0] -= 1
            found = _expand(stack[size[0]], unseen, disc, other_partner, parent, stack, seen, size)
        if found < 0:
            continue
        gained += 1
        while found >= 0:
            p = parent[found]
            following = partner[p]
            partner[p], other_partner[found] = found, p
            found = following
        for q in seen[: size[1]]:
            put(unseen, q)
    return gained


@njit(cache=True, nogil=True)
def _expand(
    pixel: int,
    unseen: np.ndarray,
    disc: np.ndarray,
    other_partner: np.ndarray,
    parent: np.ndarray,
    stack: np.ndarray,
    seen: np.ndarray,
    size: np.ndarray,
) -> int:
    """See all unseen pixels in reach: an unmatched one is returned, the others' partners go on the stack."""
    for row in range(disc.shape[0]):
        low, high = pixel + disc[row, 0], pixel + disc[row, 1]
        for w in range(low >> 6, (high >> 6) + 1):
            word = between(unseen, w, low, high)
            unseen[w] ^= word
            while word:
                bit = word & (~word + ONE)
                word ^= bit
                q = w * 64 + PLACES[(bit * FACTOR) >> SHIFT]
                parent[q] = pixel
                seen[size[1]] = q
                size[1] += 1
                if other_partner[q] < 0:
                    unseen[w] ^= word
                    return q
                stack[size[0]] = other_partner[q]
                size[0] += 1
    return -1
