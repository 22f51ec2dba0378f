"""Means over batches, as some published loops report them, whatever the size of the batches here."""

from abc import abstractmethod
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor
from torchmetrics import Metric


class BatchMeans(Metric):
    """Base of metrics that also report the plain mean over batches of `batch` consecutive images.

    Images are grouped in the order in which `update` sees them. What the last, incomplete group contributes
    is computed anew with every update, in states of its own, so that sums of states over ranks stay exact as
    long as every rank begins at a multiple of `batch` (`mtlbench.loading.evaluation_batches` sees to that).

    Args:
        batch: images of a group; 2 is the test batch of mtan and nash-mtl on NYUv2. With several ranks it has
            to divide 8, on which their shares begin.
        values: how many numbers a group has.
    """

    full_state_update = False
    group_total: Tensor
    groups: Tensor
    open_total: Tensor
    open_groups: Tensor
    _totals: Sequence[Tensor]
    _pending: int

    def __init__(self, *, batch: int, values: int) -> None:
        super().__init__()
        assert batch >= 1
        self.batch = batch
        self._clear()
        zeros = torch.zeros(values, dtype=torch.float64)
        none = torch.zeros((), dtype=torch.int64)
        self.add_state("group_total", zeros.clone(), dist_reduce_fx="sum")
        self.add_state("groups", none.clone(), dist_reduce_fx="sum")
        self.add_state("open_total", zeros.clone(), dist_reduce_fx="sum")
        self.add_state("open_groups", none.clone(), dist_reduce_fx="sum")

    @abstractmethod
    def group_values(self, *totals: Tensor) -> Tensor:
        """What the images of a group add up to -> its numbers (values,) float64.

        NaN where the group has no valid pixel, as in the published loops.
        """

    def reset(self) -> None:
        super().reset()
        self._clear()

    def add_images(self, images: Iterable[Sequence[Tensor]]) -> None:
        """Take in the images of one update: of each, the tensors that `group_values` takes the sums of."""
        for image in images:
            if self._pending:
                image = [total + part for total, part in zip(self._totals, image, strict=True)]
            self._totals = image
            self._pending += 1
            if self._pending == self.batch:
                self.group_total += self.group_values(*self._totals)
                self.groups += 1
                self._clear()
        zeros = torch.zeros_like(self.open_total)
        self.open_total = self.group_values(*self._totals) if self._pending else zeros
        self.open_groups = torch.full_like(self.open_groups, bool(self._pending))

    def group_means(self) -> Tensor:
        """(values,): means over all groups, the incomplete one counting as much as the others."""
        return (self.group_total + self.open_total) / (self.groups + self.open_groups)

    def _clear(self) -> None:
        """Begin a group."""
        self._totals = ()
        self._pending = 0
