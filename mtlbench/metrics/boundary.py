"""Boundary detection, pixel by pixel."""

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import Metric

from mtlbench.labels import IGNORE


class BoundaryLoss(Metric):
    """`edge.loss`: the weighted binary cross-entropy of training, over all pixels of the data set."""

    higher_is_better = False
    full_state_update = False
    total: Tensor
    pixels: Tensor

    def __init__(self, *, pos_weight: float) -> None:
        super().__init__()
        self.pos_weight = pos_weight
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("pixels", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Logits (B, 1, H, W), labels (B, H, W) in {0, 1, 255}."""
        valid = labels != IGNORE
        target = labels[valid].double()
        weight = torch.where(target > 0, self.pos_weight, 1 - self.pos_weight)
        scores = logits[:, 0][valid].double()
        self.total += F.binary_cross_entropy_with_logits(scores, target, weight=weight, reduction="sum")
        self.pixels += valid.sum()

    def compute(self) -> dict[str, float]:
        """A mean over pixels, >= 0; NaN where no pixel had a label."""
        return {"edge.loss": float(self.total / self.pixels)}
