"""Angles between surface normals."""

import torch
from torch import Tensor

from mtlbench.losses import valid_normals
from mtlbench.metrics.angles import BINS, BOUNDS, Angles
from mtlbench.metrics.batch_means import BatchMeans

SETS = 3
"""Of angles: of the predictions; of those where labels do not sum to 0; of predictions cut to 8 bits."""


class NormalsScores(BatchMeans):
    """Angles in degrees, 0 to 180, between predictions and labels that are neither zero, 255 nor infinite.

    Angles are 2 atan2(|p - g|, |p + g|) of the normalised vectors in float32, exact also for small ones; a
    zero prediction is 90 degrees off. The published acos of the float32 product agrees to 1e-5 degrees in a
    mean; alone below 0.03 degrees it can't tell angles apart. Labels are unit vectors, so that it does not
    matter which code bases normalise them.

    Variants over all valid pixels, accuracies `11.25`, `22.5`, `30` in percent below that angle:
        `normals.mean.pixels.atan2`: mean angle (ATRC, InvPT, DeGMix, TaskPrompter, MTMamba, MTLoRA v2), and
            `normals.{median,rmse,11.25,22.5,30}.pixels.atan2` of the same angles (defined here).
        `normals.{mean,11.25,22.5,30}.pixels.acos`: the same angles (MTI-Net during training, MTLoRA v1), and
            `normals.rmse.pixels.acos`: **the mean once more**, which they print as rmse by mistake.
        `normals.{mean,median,rmse,11.25,22.5,30}.pixels.file`: of predictions cut to 8 bits,
            floor((n + 1) 127.5), and normalised again; the rmse is one (MTI-Net, final numbers).
    Variants that leave out labels whose three components sum to 0, accuracies as shares in [0, 1]:
        `normals.{mean,median,11.25,22.5,30}.all`: over all pixels (LibMTL).
        `normals.{mean,median,11.25,22.5,30}.batches`: plain means over batches of `batch` images, of their
            mean, median and shares; NaN if a batch has no valid pixel (mtan, nash-mtl).
    """

    histograms: Tensor
    sums: Tensor
    counts: Tensor

    def __init__(self, *, batch: int = 2) -> None:
        super().__init__(batch=batch, values=5)
        self.add_state("histograms", torch.zeros(SETS, BINS, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("sums", torch.zeros(SETS, 2, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("counts", torch.zeros(SETS, 4, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Both (B, 3, H, W)."""
        valid = valid_normals(labels)
        self.add_images([self._add_image(*image) for image in zip(logits, labels, valid, strict=True)])

    def _add_image(self, logits: Tensor, labels: Tensor, valid: Tensor) -> Angles:
        """(3, H, W), (3, H, W), (H, W) -> the angles that batches are about."""
        truth, predicted = _unit(labels.float()), _unit(logits.float())
        pixels = valid.flatten().nonzero()[:, 0]
        degrees = _angles(predicted, truth)
        angles = every = Angles.of(degrees.flatten().index_select(0, pixels))
        x, y, z = labels
        kept = valid & (x + y + z != 0)
        if kept.sum() < len(pixels):
            every = Angles.of(degrees[kept])
        degrees = _angles(_unit(_through_file(predicted)), truth)
        file = Angles.of(degrees.flatten().index_select(0, pixels))
        for row, added in enumerate((angles, every, file)):
            self.counts[row] += added.counts
            self.sums[row] += added.sums
            self.histograms[row] += added.histogram
        return every

    def group_values(self, *totals: Tensor) -> Tensor:
        """Mean, median and three shares of a batch."""
        found = Angles(*totals)
        mean, median, _, *percents = found.scores()
        return torch.stack([mean, median, *(percent / 100 for percent in percents)])

    def compute(self) -> dict[str, float]:
        """NaN where no pixel had a label, or a prediction was NaN."""
        names = ("mean", "median", "rmse", *map(str, BOUNDS))
        pixels, every, file = (
            dict(zip(names, Angles(*state).scores(), strict=True))
            for state in zip(self.counts, self.sums, self.histograms, strict=True)
        )
        online = {key: pixels[key] for key in names if key != "median"} | {"rmse": pixels["mean"]}
        del every["rmse"]
        shares = {key: value / (100 if key in names[3:] else 1) for key, value in every.items()}
        suffixes = {
            "pixels.atan2": pixels,
            "pixels.acos": online,
            "pixels.file": file,
            "batches": dict(zip(every, self.group_means(), strict=True)),
            "all": shares,
        }
        return {
            f"normals.{key}.{suffix}": float(value)
            for suffix, values in suffixes.items()
            for key, value in values.items()
        }


def _unit(vectors: Tensor) -> Tensor:
    """(3, H, W), zero vectors stay zero."""
    return vectors / _length(vectors).clamp(min=1e-12)


def _length(vectors: Tensor) -> Tensor:
    """(3, H, W) -> (H, W); faster than `norm` by far."""
    x, y, z = vectors
    return (x * x + y * y + z * z).sqrt()


def _angles(a: Tensor, b: Tensor) -> Tensor:
    """Unit vectors (3, H, W) -> degrees (H, W)."""
    return 2 * torch.atan2(_length(a - b), _length(a + b)).rad2deg()


def _through_file(vectors: Tensor) -> Tensor:
    """Unit vectors as they come back from 8-bit files."""
    return 2 * ((vectors + 1) * 127.5).floor() / 255 - 1
