"""Losses of the ATRC code family (ATRC, MQTransformer, DeMT, DeGMix).

Each takes logits (B, C, H, W) and labels as in `mtlbench.labels` with a batch axis in front, and returns a
scalar: the sum over the pixels that have a label, divided by their number (0 where there is none, with a
gradient of 0).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from mtlbench.ignored import IGNORE


def cross_entropy(logits: Tensor, labels: Tensor, *, class_weight: Tensor | None = None) -> Tensor:
    """Cross-entropy summed over valid pixels / number of valid pixels; labels (B, H, W), 255 ignored.

    With `class_weight` (C,) each pixel's term is multiplied with its class's weight; the divisor stays the
    pixel count.
    """
    labels = labels.long()
    total = F.cross_entropy(logits, labels, weight=class_weight, ignore_index=IGNORE, reduction="sum")
    return total / _count(labels != IGNORE)


def balanced_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Two-class cross-entropy (2 channels); each class weighs the other's share of the batch's pixels."""
    labels = labels.long()
    valid = labels != IGNORE
    positive_weight = ((labels == 0) & valid).sum() / _count(valid)
    weight = torch.stack([1 - positive_weight, positive_weight]).to(logits.dtype)
    return cross_entropy(logits, labels, class_weight=weight)


def weighted_binary_cross_entropy(logits: Tensor, labels: Tensor, *, pos_weight: float) -> Tensor:
    """Binary cross-entropy on one logit; positives weigh `pos_weight`, negatives 1 - `pos_weight`."""
    valid = labels != IGNORE
    target = (labels * valid).to(logits.dtype)
    weight = torch.where(target > 0, pos_weight, 1 - pos_weight) * valid
    total = F.binary_cross_entropy_with_logits(logits[:, 0], target, weight=weight, reduction="sum")
    return total / _count(valid)


def valid_depth(labels: Tensor) -> Tensor:
    """Depth (B, 1, H, W) -> bool (B, H, W): finite, positive, not 255 (the published loaders' "none")."""
    depth = labels[:, 0]
    return torch.isfinite(depth) & (depth > 0) & (depth != IGNORE)


def depth_l1(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean absolute error in metres; logits and labels (B, 1, H, W)."""
    valid = valid_depth(labels)
    error = (logits[:, 0] - labels[:, 0]).abs()
    return torch.where(valid, error, 0).sum() / _count(valid)


def valid_normals(labels: Tensor) -> Tensor:
    """Normals (B, 3, H, W) -> bool (B, H, W): finite, not the zero vector, no channel 255."""
    x, y, z = labels.unbind(1)  # plane by plane: reductions over an outer axis are slow
    finite = torch.isfinite(x) & torch.isfinite(y) & torch.isfinite(z)
    given = (x != IGNORE) & (y != IGNORE) & (z != IGNORE)
    return finite & given & ((x != 0) | (y != 0) | (z != 0))


def normals_l1(logits: Tensor, labels: Tensor) -> Tensor:
    """L1 distance of the normalised prediction to the label, summed over 3 channels; (B, 3, H, W) both."""
    valid = valid_normals(labels)
    error = (_unit(logits) - labels).abs().sum(1)
    return torch.where(valid, error, 0).sum() / _count(valid)


def _unit(vectors: Tensor) -> Tensor:
    """(B, 3, H, W) of length 1, zero where zero: `F.normalize`, but plane by plane, several times faster."""
    x, y, z = vectors.unbind(1)
    square = x * x + y * y + z * z
    # no gradient where all is zero: it would be 1e12
    return vectors * torch.where(square > 1e-24, square.clamp(min=1e-24).rsqrt(), 0).unsqueeze(1)


def _count(valid: Tensor) -> Tensor:
    return valid.sum().clamp(min=1)
