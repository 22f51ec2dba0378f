"""odsF, oisF and AP from counts."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Scores of a set of images; all in [0, 1], NaN where there was no image.

    Attributes:
        ods: F of the summed counts at the best threshold.
        ods_index: which threshold that is.
        ois: F of the counts summed at each image's own best threshold.
        ap: mean precision over the recalls 0, 0.01, ..., 1.
        precision: of the summed counts at each threshold.
        recall: the same.
    """

    ods: float
    ods_index: int
    ois: float
    ap: float
    precision: np.ndarray
    recall: np.ndarray


def precision_recall(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Precision and recall (...) of counts (..., 4), by SEISM's rules for what is undefined.

    Where no pixel is true, recall is 1 and precision 0; where none is predicted, recall is 0 and precision 1.
    """
    matched_true, true, matched, predicted = np.moveaxis(counts.astype(np.float64), -1, 0)
    recall = np.where(true == 0, 1.0, matched_true / np.maximum(true, 1))
    precision = np.where(predicted == 0, 1.0, matched / np.maximum(predicted, 1))
    return np.where(true == 0, 0.0, precision), recall


def f_measure(counts: np.ndarray) -> np.ndarray:
    """Harmonic mean of precision and recall of counts (..., 4); 0 where both are 0."""
    precision, recall = precision_recall(counts)
    total = precision + recall
    return 2 * precision * recall / np.where(total == 0, 1, total)


def best_counts(counts: np.ndarray) -> np.ndarray:
    """The counts (4,) of one image at its own best threshold, the lowest of equally good ones."""
    return counts[int(f_measure(counts).argmax())]


def scores(summed: np.ndarray, best: np.ndarray, images: int) -> Scores:
    """Scores of a set of images.

    Args:
        summed: (thresholds, 4) int64, counts summed over images.
        best: (4,) int64, `best_counts` summed over images.
        images: how many there were.
    """
    precision, recall = precision_recall(summed)
    if images == 0:
        nothing = np.full(len(summed), np.nan)
        return Scores(
            ods=np.nan, ods_index=0, ois=np.nan, ap=np.nan, precision=nothing, recall=nothing.copy()
        )
    f = f_measure(summed)
    index = int(f.argmax())
    return Scores(
        ods=float(f[index]),
        ods_index=index,
        ois=float(f_measure(best)),
        ap=average_precision(precision, recall),
        precision=precision,
        recall=recall,
    )


def average_precision(precision: np.ndarray, recall: np.ndarray) -> float:
    """Precision interpolated at the recalls 0, 0.01, ..., 1, summed, / 100; 0 outside of the curve's recalls.

    Of thresholds with one recall the lowest counts. A curve of one recall alone has no area.
    """
    recalls, first = np.unique(recall, return_index=True)
    if len(recalls) < 2:
        return 0.0
    return float(np.interp(np.arange(101) / 100, recalls, precision[first], left=0, right=0).sum() / 100)
