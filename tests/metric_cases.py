"""The metrics of all tasks, and random labels for them."""

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import Metric

from mtlbench import tasks

ALL = {
    "semseg": tasks.semseg(["a"] * 5),
    "human_parts": tasks.human_parts(["a"] * 7),
    "sal": tasks.sal(),
    "edge": tasks.edge(0.8),
    "depth": tasks.depth(),
    "normals": tasks.normals(),
}
SCORED = [task for task in ALL.values() if task.name != "edge"]
GROUPED = ("depth.abs_err", "depth.rel_err")


def one_hot(labels: Tensor, classes: int) -> Tensor:
    return F.one_hot(labels, classes).movedim(-1, 1).float()


def scores(metric: Metric, logits: Tensor, labels: Tensor) -> dict[str, float]:
    metric.update(logits, labels)
    return metric.compute()


def random_labels(task: tasks.Task, batch: int) -> Tensor:
    """(B, ...), with one column of pixels that have none."""
    if task.name == "normals":
        labels = F.normalize(torch.randn(batch, 3, 6, 7), dim=1)
    elif task.name == "depth":
        labels = torch.rand(batch, 1, 6, 7) + 0.5
    else:
        labels = torch.randint(0, max(task.channels, 2), (batch, 6, 7))
    labels[..., 0] = task.fill
    return labels


def by_batch(variant: str) -> bool:
    """Whether a variant is a mean over batches, so that the order of images matters."""
    return variant in GROUPED or variant.endswith(".batches")
