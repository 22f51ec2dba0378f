"""The best constant prediction of each task: what a network must beat to have learned anything.

Each takes all labels of the training images at hand, batch axis in front, and returns logits (C,).
"""

import torch
from torch import Tensor

from mtlbench.ignored import IGNORE
from mtlbench.losses import valid_depth, valid_normals


def class_frequencies(labels: Tensor, *, num_classes: int) -> Tensor:
    """Log frequencies: argmax is the most frequent class."""
    counts = torch.bincount(labels[labels != IGNORE].long().flatten(), minlength=num_classes)
    return (counts.double() + 1e-6).log().float()


def always_positive(labels: Tensor) -> Tensor:
    """Two channels, everything foreground: the constant with the largest F-measure."""
    return torch.tensor([0.0, 1.0])


def positive_logit(labels: Tensor, *, pos_weight: float) -> Tensor:
    """One logit, the minimiser of the weighted binary cross-entropy."""
    positive = (labels == 1).sum().double() * pos_weight
    negative = (labels == 0).sum().double() * (1 - pos_weight)
    return ((positive + 1e-6) / (negative + 1e-6)).log().float().reshape(1)


def mean_depth(labels: Tensor) -> Tensor:
    """Mean depth, the minimiser of the root mean square error."""
    valid = valid_depth(labels)
    return labels[:, 0][valid].double().mean().nan_to_num().float().reshape(1)


def mean_normal(labels: Tensor) -> Tensor:
    """Mean direction (3,)."""
    vectors = labels.movedim(1, -1)[valid_normals(labels)].double()
    return torch.nn.functional.normalize(vectors.sum(0), dim=0).float()
