"""Errors of depth maps."""

import torch
from torch import Tensor

from mtlbench.losses import valid_depth
from mtlbench.metrics.batch_means import BatchMeans

SMALLEST = 1e-9
"""Predictions are raised to this where a code base clamps them."""
RANGE = 80.0
"""TaskPrompter's largest depth, in the label's unit."""


class DepthScores(BatchMeans):
    """Errors over pixels with a label, in the label's unit (metres, or mtan's disparity) or as shares.

    No label is 0, 255, negative or not finite. Predictions p are raised to 1e-9 unless a variant says
    otherwise (published: 1e-9, or 0 in ATRC, which differ in `depth.log_rmse` only, where ATRC has none).

    Variants, over all valid pixels of the data set:
        `depth.rmse.pixels`: root of the mean squared error (MTI-Net, ATRC, InvPT and their heirs).
        `depth.log_rmse`: the same of ln p; pixels with p <= 0 dominate it (MTI-Net, InvPT).
        `depth.abs_rel`, `depth.sq_rel`: means of |p - g| / g and (p - g)^2 / g (InvPT, MTMamba).
        `depth.range.rmse`, `.log_rmse`, `.abs_rel`, `.sq_rel`: the same where g < 80 (TaskPrompter).
        `depth.abs_err.pixels`, `depth.rel_err.pixels`: means of |p - g| and |p - g| / g, p as it is (LibMTL).
        `depth.delta1`, `2`, `3`: share of pixels with max(p / g, g / p) < 1.25^k (defined here).
    Means of other things:
        `depth.rmse.images`: mean over images of the root mean squared error (ASTMT); images without a label
            are left out.
        `depth.abs_err`, `depth.rel_err`: plain mean over batches of `batch` images of a batch's mean, p as it
            is; NaN if a batch has no valid pixel (mtan, nash-mtl).

    Attributes:
        masked: how many pixels had no label.
    """

    bounds: Tensor
    sums: Tensor
    range_sums: Tensor
    within: Tensor
    pixels: Tensor
    range_pixels: Tensor
    masked: Tensor
    image_rmse: Tensor
    images: Tensor

    def __init__(self, *, batch: int = 2) -> None:
        super().__init__(batch=batch, values=2)
        for name, size in {"sums": (6,), "range_sums": (4,), "image_rmse": ()}.items():
            self.add_state(name, torch.zeros(size, dtype=torch.float64), dist_reduce_fx="sum")
        for name, size in {
            "within": (3,),
            "pixels": (),
            "range_pixels": (),
            "masked": (),
            "images": (),
        }.items():
            self.add_state(name, torch.zeros(size, dtype=torch.int64), dist_reduce_fx="sum")
        bounds = torch.tensor([1.25, 1.25**2, 1.25**3], dtype=torch.float64)
        self.register_buffer("bounds", bounds, persistent=False)

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Both (B, 1, H, W)."""
        valid = valid_depth(labels)
        self.masked += (~valid).sum()
        self.add_images(
            [
                self._add_image(predicted[known].double(), truth[known].double())
                for predicted, truth, known in zip(logits[:, 0], labels[:, 0], valid, strict=True)
            ]
        )

    def _add_image(self, predicted: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
        """Valid pixels of one image, (n,) each -> n and the sums (2,) that batch means need."""
        raw = (predicted - truth).abs()
        clamped = predicted.clamp(min=SMALLEST)
        squared = (clamped - truth).square()
        terms = [
            squared,
            (clamped.log() - truth.log()).square(),
            (clamped - truth).abs() / truth,
            squared / truth,
            raw,
            raw / truth,
        ]
        sums = torch.stack([term.sum() for term in terms])
        pixels = torch.full_like(self.pixels, len(truth))
        self.sums += sums
        self.pixels += pixels
        near = truth < RANGE
        self.range_sums += torch.stack([(term * near).sum() for term in terms[:4]])
        self.range_pixels += near.sum()
        ratio = torch.maximum(clamped / truth, truth / clamped)
        self.within += torch.stack([(ratio < bound).sum() for bound in self.bounds])
        if len(truth):
            self.image_rmse += (sums[0] / pixels).sqrt()
            self.images += 1
        return pixels, sums[4:]

    def group_values(self, *totals: Tensor) -> Tensor:
        """Mean absolute and mean relative error of a batch."""
        pixels, sums = totals
        return sums / pixels

    def compute(self) -> dict[str, float]:
        """NaN where no pixel had a label."""
        means, near = self.sums / self.pixels, self.range_sums / self.range_pixels
        deltas = torch.where(means[0].isnan(), means[0], self.within / self.pixels)
        scores = {
            "depth.rmse.pixels": means[0].sqrt(),
            "depth.rmse.images": self.image_rmse / self.images,
            "depth.log_rmse": means[1].sqrt(),
            "depth.abs_rel": means[2],
            "depth.sq_rel": means[3],
            **dict(zip(("depth.abs_err", "depth.rel_err"), self.group_means(), strict=True)),
            "depth.abs_err.pixels": means[4],
            "depth.rel_err.pixels": means[5],
            "depth.range.rmse": near[0].sqrt(),
            "depth.range.log_rmse": near[1].sqrt(),
            "depth.range.abs_rel": near[2],
            "depth.range.sq_rel": near[3],
            **{f"depth.delta{k}": delta for k, delta in enumerate(deltas, 1)},
        }
        return {name: float(value) for name, value in scores.items()}
