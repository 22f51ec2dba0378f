"""Labels that follow from the maps of instances and depth."""

import numpy as np

from .vocabulary import ROOM_SEMANTICS, Semantic

_NEVER_SALIENT = (Semantic.WALL, Semantic.FLOOR, Semantic.CEILING, Semantic.DOOR, Semantic.WINDOW)


def boundaries(instances: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Pixels that touch (4-neighbours) another instance that lies behind: the nearer side, one pixel wide.

    Of two equally deep pixels the left or upper one is marked.

    Args:
        instances: (H, W) ids.
        depth: (H, W) metres.

    Returns:
        (H, W) uint8, 1 on boundaries.
    """
    edge = np.zeros(instances.shape, dtype=np.uint8)
    for first, second in (
        ((slice(None), slice(None, -1)), (slice(None), slice(1, None))),
        ((slice(None, -1), slice(None)), (slice(1, None), slice(None))),
    ):
        differ = instances[first] != instances[second]
        nearer = depth[first] <= depth[second]
        edge[first] |= differ & nearer
        edge[second] |= differ & ~nearer
    return edge


def salience(instances: np.ndarray, semantics: np.ndarray) -> np.ndarray:
    """The persons, and the one other object that takes most of the picture's middle.

    Args:
        instances: (H, W) ids.
        semantics: (I,) class of each instance.

    Returns:
        (H, W) uint8, 1 where salient.
    """
    height, width = instances.shape
    y = 1 - np.abs(2 * (np.arange(height) + 0.5) / height - 1)
    x = 1 - np.abs(2 * (np.arange(width) + 0.5) / width - 1)
    score = np.bincount(instances.ravel(), weights=np.outer(y, x).ravel(), minlength=len(semantics))
    person = semantics == Semantic.PERSON
    score[: len(ROOM_SEMANTICS)] = 0
    score[np.isin(semantics, _NEVER_SALIENT) | person] = 0
    salient = person.copy()
    best = int(score.argmax())
    salient[best] |= score[best] > 0
    return salient[instances].astype(np.uint8)
