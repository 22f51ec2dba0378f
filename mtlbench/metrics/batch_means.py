"""Means over batches, as some published loops report them, whatever the size of the batches here."""

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric


class BatchMeans(Metric):
    """Base of metrics that also report the plain mean over batches of `batch` consecutive images.

    Images are grouped in the order in which `update` sees them. What the last, incomplete group contributes
    is computed anew with every update, in states of its own, so that sums of states over ranks stay exact as
    long as every rank begins at a multiple of `batch` (`mtlbench.loading.evaluation_batches` sees to that).

    Args:
        batch: images of a group; 2 is the test batch of mtan and nash-mtl on NYUv2.
        values: how many numbers a group has.
    """

    full_state_update = False
    group_total: Tensor
    groups: Tensor
    open_total: Tensor
    open_groups: Tensor

    def __init__(self, *, batch: int, values: int) -> None:
        super().__init__()
        assert batch >= 1
        self.batch = batch
        self._pending: list[Tensor] = []
        zeros = torch.zeros(values, dtype=torch.float64)
        none = torch.zeros((), dtype=torch.int64)
        self.add_state("group_total", zeros.clone(), dist_reduce_fx="sum")
        self.add_state("groups", none.clone(), dist_reduce_fx="sum")
        self.add_state("open_total", zeros.clone(), dist_reduce_fx="sum")
        self.add_state("open_groups", none.clone(), dist_reduce_fx="sum")

    @abstractmethod
    def group_values(self, images: Sequence[Tensor]) -> Tensor:
        """What a group's images were kept as -> its numbers (values,) float64; NaN where it has no valid
        pixel, as in the published loops.
        """

    def reset(self) -> None:
        super().reset()
        self._pending = []

    def add_images(self, images: Sequence[Tensor]) -> None:
        """Take in the images of one update, each as the tensor that `group_values` needs of it."""
        for image in images:
            self._pending.append(image)
            if len(self._pending) == self.batch:
                self.group_total += self.group_values(self._pending)
                self.groups += 1
                self._pending = []
        if self._pending:
            self.open_total = self.group_values(self._pending)
        else:
            self.open_total = torch.zeros_like(self.open_total)
        self.open_groups = torch.full_like(self.open_groups, bool(self._pending))

    def group_means(self) -> Tensor:
        """(values,): means over all groups, the incomplete one counting as much as the others."""
        return (self.group_total + self.open_total) / (self.groups + self.open_groups)
