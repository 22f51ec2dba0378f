"""Intersection over union of class maps."""

from typing import Literal

import torch
from torch import Tensor
from torchmetrics import Metric

from mtlbench.labels import IGNORE


class MeanIoU(Metric):
    """Mean over all classes of TP / (TP + FP + FN), counted over the whole data set; a class never seen
    counts as 0.

    Variants:
        `miou.dataset.absent0`: every pixel whose label is not 255.
        `parts.atrc`: the same, but an image whose labels are all 0 or 255 (no person) is left out altogether.
    """

    higher_is_better = True
    full_state_update = False
    confusion: Tensor

    def __init__(
        self,
        num_classes: int,
        *,
        variant: Literal["miou.dataset.absent0", "parts.atrc"] = "miou.dataset.absent0",
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.variant = variant
        zeros = torch.zeros(num_classes, num_classes, dtype=torch.int64)
        self.add_state("confusion", zeros, dist_reduce_fx="sum")  # rows: labels, columns: predictions

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Logits (B, K, H, W), labels (B, H, W)."""
        labels = labels.long()
        if self.variant == "parts.atrc":
            empty = ((labels == 0) | (labels == IGNORE)).flatten(1).all(1)
            labels = labels.masked_fill(empty[:, None, None], IGNORE)
        valid = labels != IGNORE
        pairs = labels[valid] * self.num_classes + logits.argmax(1)[valid]
        counts = torch.bincount(pairs, minlength=self.num_classes**2)
        self.confusion += counts.view(self.num_classes, self.num_classes)

    def compute(self) -> dict[str, float]:
        """The mean over classes, in [0, 1]."""
        hits = self.confusion.diagonal().double()
        union = self.confusion.sum(0) + self.confusion.sum(1) - hits
        return {self.variant: float((hits / union.clamp(min=1)).mean())}
