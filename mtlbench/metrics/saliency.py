"""F-measure of saliency maps."""

import torch
from torch import Tensor
from torchmetrics import Metric

from mtlbench.labels import IGNORE


class MaxF(Metric):
    """`sal.maxF.dataset.b0.3`: the largest F-measure over 19 thresholds, beta^2 = 0.3, counts summed over the
    data set.

    The probability is softmax(logits)[1] of two channels, or the sigmoid of one; a pixel is salient where it
    is >= t, t = 0.05, 0.10, ..., 0.95.
    """

    higher_is_better = True
    full_state_update = False
    beta_squared = 0.3
    thresholds: Tensor
    hits: Tensor
    predicted: Tensor
    actual: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("thresholds", torch.arange(0.05, 1, 0.05), persistent=False)
        zeros = torch.zeros(len(self.thresholds), dtype=torch.int64)
        self.add_state("hits", zeros.clone(), dist_reduce_fx="sum")
        self.add_state("predicted", zeros.clone(), dist_reduce_fx="sum")
        self.add_state("actual", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Logits (B, 2, H, W) or (B, 1, H, W), labels (B, H, W) in {0, 1, 255}."""
        probability = logits.softmax(1)[:, 1] if logits.shape[1] == 2 else logits[:, 0].sigmoid()
        valid = labels != IGNORE
        probability, positive = probability[valid], labels[valid] == 1
        level = torch.searchsorted(
            self.thresholds, probability.contiguous(), right=True
        )  # thresholds reached
        self.predicted += self._at_least(level)
        self.hits += self._at_least(level[positive])
        self.actual += positive.sum()

    def _at_least(self, level: Tensor) -> Tensor:
        """How many pixels reach each threshold, (19,)."""
        counts = torch.bincount(level, minlength=len(self.thresholds) + 1)
        return counts.flip(0).cumsum(0).flip(0)[1:]

    def compute(self) -> dict[str, float]:
        """The largest F, in [0, 1]; 0 where precision or recall is undefined."""
        precision = self.hits.double() / self.predicted
        recall = self.hits.double() / self.actual
        f = (1 + self.beta_squared) * precision * recall / (self.beta_squared * precision + recall)
        return {"sal.maxF.dataset.b0.3": float(f.nan_to_num(0.0).max())}
