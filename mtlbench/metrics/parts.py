"""Scores of human part maps."""

import torch
from torch import Tensor
from torchmetrics import Metric

from mtlbench.metrics.segmentation import count_pairs, mean_iou, valid_labels


class PartsScores(Metric):
    """Mean intersection over union of human parts, under the published rules for images without a person.

    Every value is the mean over all K classes, background among them, of TP / (TP + FP + FN) counted over the
    whole data set, in [0, 1]; a class never seen counts as 0. The rules say which images are left out:

    Variants:
        `miou.dataset.absent0`: none.
        `parts.skip_empty_in_file`: those whose label is 0 everywhere, or 255 everywhere (MTI-Net, final
            numbers, on files of native size).
        `parts.mti_online`: those whose label is 0 everywhere (MTI-Net during training, MTLoRA, DiTASK). The
            two give the same number for the same arrays; published ones differ in resolution.
        `parts.atrc`: those whose label is 0 or 255 everywhere, also mixed (ATRC, InvPT, DeGMix).

    Rule and padding belong together: an image without a person that was padded with 255 is left out by
    `parts.atrc` alone; the other two were published for images without padding.
    """

    full_state_update = False
    confusions: Tensor
    unusable: Tensor

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        zeros = torch.zeros(3, num_classes, num_classes, dtype=torch.int64)
        self.add_state(
            "confusions", zeros, dist_reduce_fx="sum"
        )  # all images; but all-0 ones; but empty ones
        self.add_state("unusable", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Logits (B, K, H, W), labels (B, H, W)."""
        largest, predicted = logits.max(1)
        valid = valid_labels(labels, self.num_classes)
        self.unusable += (largest.isnan() & valid).sum()
        for classes, truth, known in zip(predicted, labels, valid, strict=True):
            counts, _ = count_pairs(classes, truth, known, self.num_classes)
            all_zero = counts[0].sum() == truth.numel()
            person = counts[1:].sum() > 0
            self.confusions += torch.stack([counts, counts * ~all_zero, counts * person])

    def compute(self) -> dict[str, float]:
        """NaN where no pixel is left."""
        plain, zero, atrc = (
            float("nan") if self.unusable else float(mean_iou(counts, absent=0.0))
            for counts in self.confusions
        )
        return {
            "miou.dataset.absent0": plain,
            "parts.skip_empty_in_file": zero,
            "parts.mti_online": zero,
            "parts.atrc": atrc,
        }
