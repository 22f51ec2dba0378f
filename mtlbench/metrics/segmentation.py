"""Scores of class maps."""

import torch
from torch import Tensor
from torchmetrics import Metric

from mtlbench.ignored import IGNORE


class SegmentationScores(Metric):
    """Mean intersection over union and pixel accuracy, in all published forms; every value is in [0, 1].

    A pixel counts where its label is a class: 255, negative labels and labels >= K are ignored. The class of
    the largest logit is predicted, of equal ones the first. A NaN among the logits of a valid pixel makes
    every score NaN.

    Variants:
        `miou.dataset.absent0`: mean over all K classes of TP / (TP + FP + FN), counted over the whole data
            set; a class in neither labels nor predictions counts as 0 (MTI-Net, InvPT, ATRC and their heirs).
        `miou.dataset.absentnan`: the same, but NaN where there is such a class (mtan, nash-mtl, LibMTL).
        `miou.image`: mean over images of the mean over the classes present in an image's labels or
            predictions. Predictions on ignored pixels are in the union, so padding lowers it (mtan before
            November 2020). Images without any label are left out.
        `pixacc.dataset`: share of the data set's valid pixels that are right (mtan, nash-mtl, LibMTL).
        `pixacc.image`: mean over images of that share (mtan before November 2020).
    """

    full_state_update = False
    confusion: Tensor
    image_iou: Tensor
    image_accuracy: Tensor
    images: Tensor
    unusable: Tensor

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        zeros = torch.zeros(num_classes, num_classes, dtype=torch.int64)
        none = torch.zeros((), dtype=torch.int64)
        self.add_state("confusion", zeros, dist_reduce_fx="sum")  # rows: labels, columns: predictions
        self.add_state("image_iou", none.double(), dist_reduce_fx="sum")
        self.add_state("image_accuracy", none.double(), dist_reduce_fx="sum")
        self.add_state("images", none.clone(), dist_reduce_fx="sum")
        self.add_state("unusable", none.clone(), dist_reduce_fx="sum")

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Logits (B, K, H, W), labels (B, H, W)."""
        largest, predicted = logits.max(1)
        valid = valid_labels(labels, self.num_classes)
        self.unusable += (largest.isnan() & valid).sum()
        for classes, truth, known in zip(predicted, labels, valid, strict=True):
            self._update_image(*count_pairs(classes, truth, known, self.num_classes))

    def _update_image(self, counts: Tensor, elsewhere: Tensor) -> None:
        """Counts of one image as `count_pairs` gives them."""
        pixels, hits = counts.sum(), counts.diagonal()
        union = elsewhere + counts.sum(0) + counts.sum(1) - hits
        iou = (hits.double() / union.clamp(min=1)).sum() / (union > 0).sum()
        labelled = pixels > 0
        self.confusion += counts
        self.image_iou += torch.where(labelled, iou, 0)
        self.image_accuracy += torch.where(labelled, hits.sum().double() / pixels.clamp(min=1), 0)
        self.images += labelled

    def compute(self) -> dict[str, float]:
        """NaN where no pixel had a label."""
        hits = self.confusion.diagonal().sum().double()
        scores = {
            "miou.dataset.absent0": mean_iou(self.confusion, absent=0.0),
            "miou.dataset.absentnan": mean_iou(self.confusion, absent=float("nan")),
            "miou.image": self.image_iou / self.images,
            "pixacc.dataset": hits / self.confusion.sum(),
            "pixacc.image": self.image_accuracy / self.images,
        }
        return {name: float("nan") if self.unusable else float(value) for name, value in scores.items()}


def valid_labels(labels: Tensor, num_classes: int) -> Tensor:
    """Bool, where a label is a class."""
    return (labels >= 0) & (labels < num_classes) & (labels != IGNORE)


def count_pairs(classes: Tensor, labels: Tensor, valid: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    """Count the pixels of an image: predicted classes, labels, mask, each (H, W).

    Returns:
        int64 (K, K) of valid pixels, rows: labels, columns: predictions; int64 (K,) of the other pixels'
        predictions.
    """
    pairs = torch.where(valid, labels, num_classes).long() * num_classes + classes
    counts = torch.bincount(pairs.flatten(), minlength=num_classes * (num_classes + 1))
    counts = counts.view(num_classes + 1, num_classes)
    return counts[:-1], counts[-1]


def mean_iou(confusion: Tensor, *, absent: float) -> Tensor:
    """Scalar in [0, 1]; a class in neither labels nor predictions counts as `absent`. NaN without pixels."""
    hits = confusion.diagonal().double()
    union = confusion.sum(0) + confusion.sum(1) - hits
    iou = torch.where(union > 0, hits / union, absent).mean()
    return torch.where(confusion.sum() > 0, iou, float("nan"))
