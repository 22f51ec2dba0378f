"""Training transforms by name, and the padding of evaluation images.

A transform takes and returns a sample; images stay uint8, normalisation follows on the device. All randomness
comes from torch's global generator. "No label" is 255 in class maps and 0 in depth and normals throughout.
"""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from numba import njit
from torch import Tensor

from mtlbench.data import Sample, Transform
from mtlbench.ignored import IGNORE
from mtlbench.labels import ClassMap

from . import chance
from .crop_zoom import mtan
from .geometry import Window, flip, nearest, pad
from .mti import mti
from .photometric import Distortion, jitter
from .warp import Warp

BALANCED_BY = "semseg"
"""The label whose classes decide whether a crop is accepted."""
PARTS = "human_parts"
"""The label that counts only in images that show a person."""


def atrc(size: tuple[int, int]) -> Transform:
    """Training transform of ATRC, MQTransformer, DeMT and DeGMix, with crops of `size`.

    Zoom by U(0.5, 2) (depth divided by it), balanced crop, flip, photometric distortion, centred padding.
    """

    def transform(sample: Sample) -> Sample:
        warp = draw_warp(sample, size)
        colours = Distortion.draw()
        warped = warp(sample, colours.first)
        colours.finish(warped["image"], warp.place)
        return ignore_absent_people(warped)

    return transform


def flip_and_jitter(size: tuple[int, int]) -> Transform:
    """Flip in half of the cases, mild change of colours; padded to `size`."""

    def transform(sample: Sample) -> Sample:
        changed = flip(sample) if chance.coin() else dict(sample)
        changed["image"] = jitter(changed["image"])
        return pad_to(changed, size)

    return transform


def none(size: tuple[int, int]) -> Transform:
    """Padding to `size` only."""
    return lambda sample: pad_to(sample, size)


TRANSFORMS: Mapping[str, Callable[[tuple[int, int]], Transform]] = {
    "atrc": atrc,
    "invpt": atrc,
    "mti": mti,
    "mtan": mtan,
    "flip": flip_and_jitter,
    "none": none,
}


def pad_to(sample: Sample, size: tuple[int, int]) -> Sample:
    """What evaluation does: centred padding to `size`; parts without a person become "no label"."""
    return ignore_absent_people(pad(sample, size))


def ignore_absent_people(sample: Sample) -> Sample:
    """Set the body parts to 255 where they are all background or ignored, as ATRC does after its crop."""
    parts = sample.get(PARTS)
    if parts is None or ((parts != 0) & (parts != 255)).any():
        return sample
    return {**sample, PARTS: ClassMap(torch.full_like(parts.as_subclass(Tensor), 255))}


def draw_warp(sample: Sample, size: tuple[int, int]) -> Warp:
    """A zoom by U(0.5, 2), a window of at most `size` that is varied, and a flip in half of the cases."""
    zoom = chance.uniform(0.5, 2.0)
    height, width = sample["image"].shape[-2:]
    scaled = int(height * zoom), int(width * zoom)
    window = choose_window(sample.get(BALANCED_BY), scaled, size)
    return Warp(zoom=zoom, scaled=scaled, window=window, mirrored=chance.coin(), size=size)


def choose_window(classes: Tensor | None, scaled: tuple[int, int], size: tuple[int, int]) -> Window:
    """A random window; redrawn up to 10 times while one class has 3/4 of it or more; the 11th is not tested.

    Args:
        classes: (H, W) class map before the zoom; None takes the first draw.
        scaled: height and width after the zoom.
        size: height and width of the window, where the map is that large.
    """
    window = _draw_window(scaled, size)
    if classes is None:
        return window
    plain = classes.as_subclass(Tensor).numpy()
    for _ in range(10):
        if is_varied(_histogram(plain, scaled, window)):
            break
        window = _draw_window(scaled, size)
    return window


def is_varied(counts: np.ndarray) -> bool:
    """Of counts (256,): whether there is more than one class, and none has 3/4 of the labelled pixels."""
    labelled = counts[:IGNORE]
    return int((labelled > 0).sum()) > 1 and int(labelled.max()) / int(labelled.sum()) < 0.75


def _histogram(classes: np.ndarray, scaled: tuple[int, int], window: Window) -> np.ndarray:
    """How often each value occurs in a window of the class map after the zoom, (256,)."""
    top, left, height, width = window
    rows = np.bincount(nearest(top, height, scaled[0], classes.shape[0]), minlength=classes.shape[0])
    columns = np.bincount(nearest(left, width, scaled[1], classes.shape[1]), minlength=classes.shape[1])
    return _weighted_histogram(classes, rows, columns)


@njit(cache=True, nogil=True)
def _weighted_histogram(classes: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Pixels count as often as their row and column do; a zoomed map holds them that often."""
    total = np.zeros(256, np.int64)
    used = np.nonzero(columns)[0].astype(np.uint32)
    counts = np.empty((4, 256), np.int64)  # neighbours have one class: counting them apart, none waits
    for i in np.nonzero(rows)[0]:
        counts[:] = 0
        line = classes[i]
        for k in range(used.size):
            j = used[k]
            counts[k & 3, line[j]] += columns[j]
        for lane in range(4):
            for value in range(256):
                total[value] += rows[i] * counts[lane, value]
    return total


def _draw_window(scaled: tuple[int, int], size: tuple[int, int]) -> Window:
    height, width = min(scaled[0], size[0]), min(scaled[1], size[1])
    return chance.integer(0, scaled[0] - height), chance.integer(0, scaled[1] - width), height, width
