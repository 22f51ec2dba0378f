"""Angles between surface normals."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mtlbench.losses import valid_normals
from mtlbench.metrics.batch_means import BatchMeans

BINS = 2**18 + 1
WIDTH = 180 / (BINS - 1)
"""Degrees between centres of the histogram that medians are read from: 0.0007, so a median is right to
0.00035 degrees."""
BOUNDS = (11.25, 22.5, 30)
SETS = ("pixels", "all", "file")
"""Of angles: of the predictions; of those where labels do not sum to 0; of predictions kept in 8 bits."""


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
        sets = len(SETS)
        self.add_state("histograms", torch.zeros(sets, BINS, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("sums", torch.zeros(sets, 2, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("counts", torch.zeros(sets, 4, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Both (B, 3, H, W)."""
        valid = valid_normals(labels)
        self.add_images([self._add_image(*image) for image in zip(logits, labels, valid, strict=True)])

    def _add_image(self, logits: Tensor, labels: Tensor, valid: Tensor) -> Tensor:
        """(3, H, W), (3, H, W), (H, W) -> the angles (n,) that batches are about."""
        truth, predicted = _unit(labels.float()), _unit(logits.float())
        angles = _angles(predicted, truth)
        kept = valid & (labels.sum(0) != 0)
        self._add("pixels", angles[valid])
        self._add("file", _angles(_unit(_through_file(predicted)), truth)[valid])
        self._add("all", angles[kept])
        return angles[kept]

    def _add(self, name: str, angles: Tensor) -> None:
        row = SETS.index(name)
        exact = angles.double()
        self.sums[row] += torch.stack([exact.sum(), exact.square().sum()])
        below = [(angles < bound).sum() for bound in BOUNDS]
        self.counts[row] += torch.stack([torch.full_like(below[0], len(angles)), *below])
        bins = (angles.nan_to_num(0.0) * (1 / WIDTH)).round().long()
        self.histograms[row] += torch.bincount(bins, minlength=BINS)

    def group_values(self, images: Sequence[Tensor]) -> Tensor:
        """Mean, median and three shares of a batch."""
        angles = torch.cat(list(images))
        if not len(angles):
            return torch.full_like(self.group_total, float("nan"))
        exact = angles.double()
        shares = [(exact < bound).double().mean() for bound in BOUNDS]
        mean = exact.mean()
        values = torch.stack([mean, _median(angles), *shares])
        return torch.where(mean.isnan(), mean, values)

    def compute(self) -> dict[str, float]:
        """NaN where no pixel had a label, or a prediction was NaN."""
        pixels, every, file = (self._set(row) for row in range(len(SETS)))
        mean, median, *shares = self.group_means()
        online = {key: pixels[key] for key in pixels if key != "median"} | {"rmse": pixels["mean"]}
        batches = {"mean": mean, "median": median, **dict(zip(map(str, BOUNDS), shares, strict=True))}
        without = {key: value / (1 if key in ("mean", "median") else 100) for key, value in every.items()}
        del without["rmse"]
        suffixes = {
            "pixels.acos": online,
            "pixels.file": file,
            "pixels.atan2": pixels,
            "batches": batches,
            "all": without,
        }
        return {
            f"normals.{key}.{suffix}": float(value)
            for suffix, values in suffixes.items()
            for key, value in values.items()
        }

    def _set(self, row: int) -> dict[str, Tensor]:
        """Mean, median, root mean square and percentages of one set of angles."""
        pixels, *below = self.counts[row]
        mean, square = self.sums[row] / pixels
        spoilt = torch.where(mean.isnan(), mean, 0)
        percents = {str(bound): 100 * count / pixels for bound, count in zip(BOUNDS, below, strict=True)}
        scores = {
            "mean": mean,
            "median": _histogram_median(self.histograms[row]),
            "rmse": square.sqrt(),
            **percents,
        }
        return {key: value + spoilt for key, value in scores.items()}


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


def _median(angles: Tensor) -> Tensor:
    """(n,), n > 0 -> scalar float64, of an even number the mean of the middle two."""
    half = len(angles) // 2
    upper = angles.kthvalue(half + 1).values
    below = angles < upper
    lower = torch.where(below, angles, -1).max()
    lower = torch.where((below.sum() == half) & (len(angles) % 2 == 0), lower, upper)
    return (lower.double() + upper) / 2


def _histogram_median(histogram: Tensor) -> Tensor:
    """(BINS,) -> scalar, of an even number of angles the mean of the middle two; NaN where there are none."""
    until = histogram.cumsum(0)
    total = until[-1]
    middle = torch.stack([(total - 1) // 2, total // 2])
    found = torch.searchsorted(until, middle, right=True).double().mean() * WIDTH
    return torch.where(total > 0, found, float("nan"))
