"""True boundaries from what data sets hold."""

import numpy as np

from mtlbench.boundary.protocols import Truth
from mtlbench.boundary.thinning import thin


def outline(labels: np.ndarray) -> np.ndarray:
    """`seg2bmap`: (H, W) -> (H, W) bool, where a label differs from the one right, below or right below.

    The last row looks right only, the last column down only. Relabelling to 4-connected regions first, as
    SEISM does, changes nothing: equal labels that touch at a corner only differ from the neighbours between.
    """
    boundary = np.zeros(labels.shape, bool)
    right, down = labels[:, 1:] != labels[:, :-1], labels[1:] != labels[:-1]
    boundary[:, :-1] |= right
    boundary[:-1] |= down
    boundary[:-1, :-1] |= labels[1:, 1:] != labels[:-1, :-1]
    return boundary


def true_boundaries(truth: np.ndarray, kind: Truth) -> np.ndarray:
    """Thinned boundaries (H, W) bool of a ground truth (H, W).

    Args:
        truth: of kind "labels" integers, one for each segment; else nonzero = edge or boundary.
        kind: see `mtlbench.boundary.protocols.Truth`.
    """
    if kind == "boundaries":
        return thin(truth)
    return thin(outline(truth != 0 if kind == "edges" else truth))
