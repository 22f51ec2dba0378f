"""Angles between surface normals."""

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import Metric

from mtlbench.losses import valid_normals


class NormalsError(Metric):
    """`normals.mean.pixels.atan2`: mean angle in degrees over all pixels of the data set that have a label.

    The angle is 2 atan2(|p - g|, |p + g|) of the normalised vectors, exact also for small angles.
    """

    higher_is_better = False
    full_state_update = False
    angles: Tensor
    pixels: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("angles", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("pixels", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Both (B, 3, H, W)."""
        valid = valid_normals(labels)
        predicted = F.normalize(logits.movedim(1, -1)[valid].double(), dim=-1)
        truth = F.normalize(labels.movedim(1, -1)[valid].double(), dim=-1)
        angle = 2 * torch.atan2((predicted - truth).norm(dim=-1), (predicted + truth).norm(dim=-1))
        self.angles += angle.rad2deg().sum()
        self.pixels += valid.sum()

    def compute(self) -> dict[str, float]:
        """Degrees in [0, 180]; NaN where no pixel had a label."""
        return {"normals.mean.pixels.atan2": float(self.angles / self.pixels)}
