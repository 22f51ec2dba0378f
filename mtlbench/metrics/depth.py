"""Errors of depth maps."""

import torch
from torch import Tensor
from torchmetrics import Metric

from mtlbench.losses import valid_depth


class DepthError(Metric):
    """Errors in metres, over all pixels of the data set that have a label; predictions are clamped to >= 0.

    Variants:
        `depth.rmse.pixels`: root of the mean squared error.
        `depth.abs_rel`: mean of |p - g| / g.
    """

    higher_is_better = False
    full_state_update = False
    squared: Tensor
    relative: Tensor
    pixels: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("squared", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("relative", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("pixels", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Both (B, 1, H, W), metres."""
        valid = valid_depth(labels)
        truth = labels[:, 0][valid].double()
        error = (logits[:, 0][valid].double().clamp(min=0) - truth).abs()
        self.squared += error.square().sum()
        self.relative += (error / truth).sum()
        self.pixels += valid.sum()

    def compute(self) -> dict[str, float]:
        """Metres, and a share; NaN where no pixel had a label."""
        return {
            "depth.rmse.pixels": float((self.squared / self.pixels).sqrt()),
            "depth.abs_rel": float(self.relative / self.pixels),
        }
