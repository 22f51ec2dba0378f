"""Scores of saliency maps."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric

from mtlbench.ignored import IGNORE

NAN = float("nan")
TINY = 1e-12
ONE = 0x3F800000
"""The bits of 1.0 in float32."""


class SaliencyScores(Metric):
    """F-measures and intersections over union of the salient class, largest over thresholds; all in [0, 1].

    The probability p is softmax(logits)[1] of two channels, or the sigmoid of one. Pixels of label 255 are
    excluded everywhere. (The published image-level meters know no void and would count it as salient, which
    padding must not be; without void pixels they agree.) Images without any label are left out. A NaN among
    the valid pixels' logits makes every score NaN.

    Variants over counts summed over the data set, 19 thresholds t = 0.05, 0.10, ..., 0.95:
        `sal.maxF.dataset.b0.3`: F with beta^2 = 0.3, p >= t (ATRC, MQTransformer, DeMT, DeGMix).
        `sal.maxF.dataset.b0.3.doublesigmoid`: sigmoid(p) >= t, by mistake: five thresholds are left of 19
            (InvPT, TaskPrompter, MTMamba; "Beta maxF" of MTLoRA and DiTASK).
        `sal.miou.dataset`: intersection over union, p >= t (defined here).
    Variants over images, 15 thresholds t = 0.20, 0.25, ..., 0.90, p > t:
        `sal.maxF.image.b1`: F with beta = 1 of precision and recall averaged over images; an image without
            salient pixels has recall 0 (MTI-Net during training, MTLoRA, DiTASK).
        `sal.miou.image`: intersection over union averaged over images, 1 where label and prediction are both
            empty (the same; the "mIoU" of their tables).
        `sal.maxF.image.b1.file`, `sal.miou.image.file`: the same of floor(255 p) / 255, as read back from
            8-bit files (MTI-Net, final numbers).
    """

    full_state_update = False
    cuts: Tensor
    places: Tensor
    levels: Tensor
    image_sums: Tensor
    images: Tensor
    unusable: Tensor

    def __init__(self) -> None:
        super().__init__()
        cuts, order = torch.cat(_cuts()).sort()
        self.register_buffer("cuts", cuts, persistent=False)
        self.register_buffer("places", order.argsort(), persistent=False)
        levels = torch.zeros(
            2, len(cuts) + 1, dtype=torch.int64
        )  # pixels by label and number of cuts reached
        self.add_state("levels", levels, dist_reduce_fx="sum")
        sums = torch.zeros(3, 2, 15, dtype=torch.float64)  # precision, recall, IoU; p as it is, as in a file
        self.add_state("image_sums", sums, dist_reduce_fx="sum")
        self.add_state("images", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("unusable", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Logits (B, 2, H, W) or (B, 1, H, W), labels (B, H, W) in {0, 1, 255}."""
        probability = logits.softmax(1)[:, 1] if logits.shape[1] == 2 else logits[:, 0].sigmoid()
        valid = labels != IGNORE
        self.unusable += (probability.isnan() & valid).sum()
        bins = len(self.cuts) + 1
        for p, truth, known in zip(probability.float(), labels, valid, strict=True):
            reached = torch.searchsorted(self.cuts, p[known], right=True)
            counts = torch.bincount(reached + bins * (truth[known] != 0), minlength=2 * bins).view(2, bins)
            self.levels += counts
            self._add_image(counts)

    def counts(self, levels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Pixels by label and level (2, bins) -> per cut (68,) salient and predicted, predicted; () salient.

        Cuts are in the order of `_cuts`.
        """
        reached = levels.flip(1).cumsum(1).flip(1)[:, 1:][:, self.places]
        return reached[1], reached.sum(0), levels[1].sum()

    def _add_image(self, levels: Tensor) -> None:
        hits, predicted, actual = (x.double() for x in self.counts(levels))
        hits, predicted = hits[38:].view(2, 15), predicted[38:].view(2, 15)
        union = predicted + actual - hits
        iou = torch.where(union > 0, hits / union, 1.0)
        labelled = levels.sum() > 0
        self.image_sums += torch.stack([hits / (predicted + TINY), hits / (actual + TINY), iou]) * labelled
        self.images += labelled

    def compute(self) -> dict[str, float]:
        """NaN where no pixel had a label; F is 0 where precision or recall is undefined."""
        hits, predicted, actual = self.counts(self.levels)
        f = _f_measure(hits.double(), predicted, actual, beta_squared=0.3)
        iou = hits[:19].double() / (predicted[:19] + actual - hits[:19])
        precision, recall, image_iou = self.image_sums / self.images
        image_f = (2 * precision * recall / (precision + recall + TINY)).amax(1)
        scores = {
            "sal.maxF.dataset.b0.3": f[:19].max(),
            "sal.maxF.dataset.b0.3.doublesigmoid": f[19:38].max(),
            "sal.miou.dataset": iou.nan_to_num(1.0).max(),
            "sal.maxF.image.b1": image_f[0],
            "sal.maxF.image.b1.file": image_f[1],
            "sal.miou.image": image_iou[0].max(),
            "sal.miou.image.file": image_iou[1].max(),
        }
        usable = self.levels.sum() > 0 and not self.unusable
        return {name: float(value) if usable else NAN for name, value in scores.items()}


def _f_measure(hits: Tensor, predicted: Tensor, actual: Tensor, *, beta_squared: float) -> Tensor:
    precision, recall = hits / predicted, hits / actual
    f = (1 + beta_squared) * precision * recall / (beta_squared * precision + recall)
    return f.nan_to_num(0.0)


def _cuts() -> list[Tensor]:
    """Every published comparison as p >= cut: 19 plain, 19 of the double sigmoid, 15 per image, 15 in files.

    All of them grow with p, so that one search sorts a pixel into all of them; infinity where none reaches.
    """
    dataset = torch.arange(0.05, 1, 0.05)
    image = torch.from_numpy(np.linspace(0.2, 0.9, 15)).float()
    return [
        dataset,
        _smallest(lambda p: p.sigmoid() >= dataset, 19),
        _smallest(lambda p: p * 255 / 255 > image, 15),
        _smallest(lambda p: (p * 255).floor() / 255 > image, 15),
    ]


def _smallest(reaches: Callable[[Tensor], Tensor], count: int) -> Tensor:
    """The smallest float32 in [0, 1] that satisfies each of `count` growing conditions, by bisecting bits."""
    low, high = torch.full((count,), -1, dtype=torch.int32), torch.full((count,), ONE + 1, dtype=torch.int32)
    while (high - low).max() > 1:
        middle = (low + high) // 2
        found = reaches(middle.view(torch.float32))
        low, high = torch.where(found, low, middle), torch.where(found, middle, high)
    return torch.where(high > ONE, float("inf"), high.view(torch.float32))
