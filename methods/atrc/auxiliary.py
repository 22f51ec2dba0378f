"""Auxiliary predictions: every task as a classification, so that its classes are regions of the image.

class maps   their own classes; a single logit becomes two classes
depth        40 bins of equal width in log d, between 0.7 and 10 m
normals      the 40 published directions nearest to the data set's normals (`centroids`)
"""

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from mtlbench.ignored import IGNORE
from mtlbench.labels import ClassMap, Depth, Disparity, Normals
from mtlbench.losses import cross_entropy, valid_depth, valid_normals
from mtlbench.tasks import Task

from .centroids import NYUD

BINS = 40
Loss = Callable[[Tensor, Tensor], Tensor]


def auxiliary_channels(task: Task) -> int:
    """Classes of a task's auxiliary prediction."""
    if issubclass(task.label_type, Depth | Disparity):
        return BINS
    if issubclass(task.label_type, Normals):
        return len(NYUD)
    if issubclass(task.label_type, ClassMap):
        return max(task.channels, 2)
    return task.channels


def auxiliary_loss(task: Task, *, depth_range: tuple[float, float], centroids: Tensor) -> Loss:
    """The loss of a task's auxiliary prediction; centroids (K, 3)."""
    if issubclass(task.label_type, Depth | Disparity):
        return partial(_bin_cross_entropy, depth_range=depth_range)
    if issubclass(task.label_type, Normals):
        return partial(_cluster_cross_entropy, centroids=centroids)
    if auxiliary_channels(task) != task.channels:
        return partial(_two_class_loss, loss=task.loss)
    return task.loss


def depth_bins(labels: Tensor, depth_range: tuple[float, float]) -> Tensor:
    """Depth (B, 1, H, W) -> its bin (B, H, W), 255 where there is no depth; beyond the range: the ends."""
    low, high = depth_range
    valid = valid_depth(labels)
    depth = torch.where(valid, labels[:, 0], low)
    bins = (BINS * torch.log(depth / low) / math.log(high / low)).floor().clamp(0, BINS - 1)
    return torch.where(valid, bins, IGNORE).long()


def nearest_centroids(labels: Tensor, centroids: Tensor) -> Tensor:
    """Normals (B, 3, H, W) and centroids (K, 3) -> the nearest's number (B, H, W), 255 where no normal."""
    columns = (c.view(1, -1, 1, 1) for c in centroids.unbind(1))
    # |n - c|^2 / 2 without what all centroids share; sums of products, since autocast would round a matmul
    scores = -0.5 * centroids.square().sum(1).view(1, -1, 1, 1)
    for n, c in zip(labels.unsqueeze(2).unbind(1), columns, strict=True):
        scores = scores + n * c  # (B, K, H, W)
    return torch.where(valid_normals(labels), scores.argmax(1), IGNORE)


def _bin_cross_entropy(logits: Tensor, labels: Tensor, *, depth_range: tuple[float, float]) -> Tensor:
    return cross_entropy(logits, depth_bins(labels, depth_range))


def _cluster_cross_entropy(logits: Tensor, labels: Tensor, *, centroids: Tensor) -> Tensor:
    return cross_entropy(logits, nearest_centroids(labels, centroids))


def _two_class_loss(logits: Tensor, labels: Tensor, *, loss: Loss) -> Tensor:
    """A binary task's own loss: the softmax of two logits is the sigmoid of their difference."""
    return loss(logits[:, 1:] - logits[:, :1], labels)
