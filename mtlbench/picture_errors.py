"""Errors of predictions, from the drawn pictures of labels and predictions (`mtlbench.drawing`).

How a task was drawn follows from the colours of its labels. Class maps come back exactly; the others in steps
of 1/255 of what was drawn: probabilities, components of normals (half a degree), and depth as a share of the
label's largest (1/256), where predictions above that are cut.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from mtlbench.drawing import IGNORED_COLOUR, PALETTE

_NORM = 0.03
"""How far the length of a drawn unit vector may be from 1: three components, each rounded by up to 1/255."""


@dataclass(frozen=True)
class Coding:
    """One way to draw labels.

    Attributes:
        error: what `measure` gives, with its unit.
        limit: largest error that a colour scale should tell apart.
        graded: whether a pixel may be more or less wrong.
        open_ended: whether errors may be above the limit.
        unit: stands behind a mean error, which has so many `decimals`.
        resolution: what the drawing lost: half a sentence, empty where nothing.
        drawn: whether colours (N, 3) of labeled pixels are of this coding.
        measure: colours of label and prediction (N, 3) -> error (N,).
    """

    error: str
    limit: float
    unit: str
    resolution: str
    drawn: Callable[[np.ndarray], bool]
    measure: Callable[[np.ndarray, np.ndarray], np.ndarray]
    decimals: int = 1
    graded: bool = True
    open_ended: bool = False


def coding_of(labels: Sequence[np.ndarray]) -> Coding | None:
    """The coding of one task's labels, each (H, W, 3) uint8; None where they have none, or an unknown one."""
    colours = np.unique(np.concatenate([label[_labelled(label)] for label in labels]), axis=0)
    return next((coding for coding in CODINGS if coding.drawn(colours)), None) if len(colours) else None


def errors(coding: Coding, label: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Error of each pixel (H, W), NaN where there is no label. Pictures are (H, W, 3) uint8."""
    found = np.full(label.shape[:2], np.nan)
    labelled = _labelled(label)
    found[labelled] = coding.measure(label[labelled], prediction[labelled])
    return found


def _labelled(label: np.ndarray) -> np.ndarray:
    return (label != IGNORED_COLOUR).any(axis=-1)


def _codes(colours: np.ndarray) -> np.ndarray:
    """(N, 3) -> one number a colour."""
    return colours.astype(np.int64) @ np.array([65536, 256, 1])


def _all_in(table: np.ndarray) -> Callable[[np.ndarray], bool]:
    return lambda colours: bool(np.isin(_codes(colours), _codes(table)).all())


@cache
def _depths() -> np.ndarray:
    """Colours of 256 shares of the largest depth (256, 3)."""
    from matplotlib import colormaps

    return np.rint(colormaps["magma_r"](np.arange(256))[:, :3] * 255).astype(np.uint8)


def _shares(colours: np.ndarray) -> np.ndarray:
    """Depth as a share of the largest, NaN for a colour that draws none; each of 256 steps by its middle."""
    codes = _codes(_depths())
    order = np.argsort(codes)
    place = order[np.searchsorted(codes[order], _codes(colours)).clip(0, 255)]
    return np.where(codes[place] == _codes(colours), (place + 0.5) / 256, np.nan)


def _vectors(colours: np.ndarray) -> np.ndarray:
    return colours / 127.5 - 1.0


def _wrong(label: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    return 100.0 * (label != prediction).any(axis=-1)


def _difference(label: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    return np.abs(label[:, 0].astype(float) - prediction[:, 0]) / 255


def _relative(label: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    true = _shares(label)
    return 100 * np.abs(_shares(prediction) - true) / true


def _angle(label: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    a, b = _vectors(label), _vectors(prediction)
    lengths = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    return np.degrees(np.arccos(np.clip((a * b).sum(-1) / np.maximum(lengths, 1e-9), -1, 1)))


def _unit_lengths(colours: np.ndarray) -> bool:
    return bool((np.abs(np.linalg.norm(_vectors(colours), axis=-1) - 1) < _NORM).all())


CODINGS = (
    Coding(
        error="absolute difference",
        limit=1.0,
        unit="",
        resolution="in steps of 1/255",
        drawn=_all_in(np.array([[0] * 3, [255] * 3])),
        measure=_difference,
        decimals=2,
    ),
    Coding(
        error="wrong pixels",
        limit=100.0,
        unit=" %",
        resolution="",
        drawn=_all_in(np.vstack([PALETTE, [[0, 0, 0]]])),
        measure=_wrong,
        graded=False,
    ),
    Coding(
        error="relative error (%)",
        limit=50.0,
        unit=" %",
        resolution="in steps of 1/256 of the image's largest depth, where deeper predictions are cut",
        drawn=lambda colours: _all_in(_depths())(colours),
        measure=_relative,
        open_ended=True,
    ),
    Coding(
        error="angle (degrees)",
        limit=60.0,
        unit="°",
        resolution="to half a degree",
        drawn=_unit_lengths,
        measure=_angle,
        open_ended=True,
    ),
)
"""In the order in which they are tried: each is told from those after it by its colours."""
