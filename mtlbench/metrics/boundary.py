"""Boundary detection: scores of boundaries, and losses pixel by pixel."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import Metric

from mtlbench.boundary.protocols import Truth, find_protocol
from mtlbench.ignored import IGNORE

METER_POS_WEIGHT = 0.95
"""Of positive pixels in the published meters, whatever the training used."""


class BoundaryLoss(Metric):
    """Means over all pixels of the data set that have a label; >= 0, no boundary scores.

    Variants:
        `edge.loss`: the weighted binary cross-entropy of training, positives weigh `pos_weight`.
        `edge.loss.meter`: what the meters of MTI-Net, InvPT and MTLoRA print: the same with weight 0.95, and
            with the probability where the logit belongs. For comparing logs only.
    """

    higher_is_better = False
    full_state_update = False
    total: Tensor
    meter: Tensor
    pixels: Tensor

    def __init__(self, *, pos_weight: float = 0.95) -> None:
        super().__init__()
        self.pos_weight = pos_weight
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("meter", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("pixels", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Logits (B, 1, H, W), labels (B, H, W) in {0, 1, 255}."""
        valid = labels != IGNORE
        target = labels[valid].double()
        scores = logits[:, 0][valid].double()
        self.total += _loss(scores, target, self.pos_weight)
        self.meter += _loss(scores.sigmoid(), target, METER_POS_WEIGHT)
        self.pixels += valid.sum()

    def compute(self) -> dict[str, float]:
        """Both losses; NaN where no pixel had a label."""
        return {
            "edge.loss": float(self.total / self.pixels),
            "edge.loss.meter": float(self.meter / self.pixels),
        }


class BoundaryScores(BoundaryLoss):
    """odsF, oisF and AP of a published protocol, in [0, 1], with the losses of `BoundaryLoss`.

    Predictions count as the files that published code writes: uint8(floor(255 sigmoid(logit))). Images may be
    padded with label 255: what lies outside of the box around all labels is cut off first, and an image
    without any label is left out. Labels are boundary maps; where the protocol's truth is a picture of edges
    they are outlined as one.

    Variants (with the protocol's name in front):
        `.odsF`: F of the counts summed over images, at the best threshold.
        `.oisF`: F of the counts at each image's own best threshold, summed.
        `.AP`: mean precision over recalls 0, 0.01, ..., 1.

    States are int64 sums, so that parts of a data set sum to exactly the whole.

    Args:
        protocol: a name of `mtlbench.boundary.protocols`.
        pos_weight: of the training loss, for `edge.loss`.
    """

    higher_is_better = True
    counts: Tensor
    best: Tensor
    images: Tensor

    def __init__(self, protocol: str = "edge.seism.nyud", *, pos_weight: float = 0.95) -> None:
        super().__init__(pos_weight=pos_weight)
        self.protocol = find_protocol(protocol)
        zeros = torch.zeros(len(self.protocol.thresholds), 4, dtype=torch.int64)
        self.add_state("counts", zeros, dist_reduce_fx="sum")  # of each threshold: cntR, sumR, cntP, sumP
        self.add_state("best", zeros[0].clone(), dist_reduce_fx="sum")  # at each image's best threshold
        self.add_state("images", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Logits (B, 1, H, W), labels (B, H, W) in {0, 1, 255}; images are scored in threads."""
        from mtlbench.boundary.scores import best_counts

        super().update(logits, labels)
        predictions = (255 * logits[:, 0].float().sigmoid()).to(torch.uint8).cpu().numpy()
        truths = labels.to(torch.uint8).cpu().numpy()
        labelled = [i for i in range(len(truths)) if (truths[i] != IGNORE).any()]
        with ThreadPoolExecutor(max(torch.get_num_threads(), 1)) as threads:
            for counts in threads.map(self._count, predictions[labelled], truths[labelled]):
                self.counts += torch.from_numpy(counts).to(self.counts.device)
                self.best += torch.from_numpy(best_counts(counts)).to(self.best.device)
                self.images += 1

    def _count(self, prediction: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Counts (thresholds, 4) of one image (H, W)."""
        from mtlbench.boundary.counts import count_image
        from mtlbench.boundary.truth import true_boundaries

        valid = labels != IGNORE
        rows, columns = np.flatnonzero(valid.any(1)), np.flatnonzero(valid.any(0))
        box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        kind: Truth = "edges" if self.protocol.truth == "edges" else "boundaries"
        return count_image(prediction[box], true_boundaries(labels[box] == 1, kind), self.protocol)

    def compute(self) -> dict[str, float]:
        """All variants; NaN where no image had a label."""
        from mtlbench.boundary.scores import scores

        found = scores(self.counts.cpu().numpy(), self.best.cpu().numpy(), int(self.images))
        name = self.protocol.name
        return {
            f"{name}.odsF": found.ods,
            f"{name}.oisF": found.ois,
            f"{name}.AP": found.ap,
            **super().compute(),
        }


def _loss(scores: Tensor, target: Tensor, pos_weight: float) -> Tensor:
    """Sum over pixels of the binary cross-entropy with logits."""
    weight = torch.where(target > 0, pos_weight, 1 - pos_weight)
    return F.binary_cross_entropy_with_logits(scores, target, weight=weight, reduction="sum")
