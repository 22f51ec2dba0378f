"""Dynamic weight averaging (DWA).

Liu, Johns, Davison: End-to-End Multi-Task Learning with Attention, CVPR 2019, equation 7.

With the mean training loss of each epoch, and temperature t:

    r_i = L_i(e - 1) / L_i(e - 2),   w = T softmax(r / t),   total = sum_i w_i L_i

The first two epochs weigh all tasks 1. Epoch means are means over batches, as in MTAN and TorchJD.
"""

import torch
from torch import Tensor

from mtlbench.balancing import Scalarization, Step
from mtlbench.errors import MtlbenchError
from mtlbench.tasks import Tasks


class DWA(Scalarization):
    """Tasks whose loss falls slowly weigh more.

    Args:
        temperature: > 0; the larger, the more equal the weights.
    """

    per_task = ("sums", "counts", "last", "before_last")
    epoch: Tensor
    sums: Tensor
    counts: Tensor
    last: Tensor
    before_last: Tensor

    def __init__(self, tasks: Tasks, *, temperature: float = 2.0) -> None:
        super().__init__(tasks)
        if not temperature > 0:
            raise MtlbenchError(f"`temperature` of balancer `dwa` must be > 0, got {temperature}")
        self.temperature = temperature
        self.register_buffer("epoch", torch.zeros((), dtype=torch.int64))
        for name in ("sums", "counts"):  # of the running epoch
            self.register_buffer(name, torch.zeros(len(tasks), dtype=torch.float64))
        for name in ("last", "before_last"):  # mean losses of the two epochs before; NaN = not known yet
            self.register_buffer(name, torch.full((len(tasks),), torch.nan, dtype=torch.float64))

    def total(self, losses: Tensor, step: Step) -> Tensor:
        if step.epoch > int(self.epoch):
            self._close_epoch(step.epoch)
        ratio = (self.last / self.before_last)[step.active]
        if not ratio.isfinite().all():  # the first two epochs, or a mean loss of exactly 0
            return losses.sum()
        weights = len(losses) * torch.softmax(ratio / self.temperature, dim=0)
        return (weights.to(losses) * losses).sum()

    def observe(self, step: Step) -> None:
        self.sums[step.active] += step.losses.to(self.sums)
        self.counts[step.active] += 1

    def _close_epoch(self, epoch: int) -> None:
        seen = self.counts > 0
        self.before_last = torch.where(seen, self.last, self.before_last)
        self.last = torch.where(seen, self.sums / self.counts, self.last)
        self.sums.zero_()
        self.counts.zero_()
        self.epoch.fill_(epoch)
