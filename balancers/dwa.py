"""Dynamic weight averaging (DWA).

Liu, Johns, Davison: End-to-End Multi-Task Learning with Attention, CVPR 2019, equation 7.

With the mean training loss of each epoch, and temperature t:

    r_i = L_i(e - 1) / L_i(e - 2),   w = T softmax(r / t),   total = sum_i w_i L_i

The first two epochs weigh all tasks 1. Epoch means are means over batches, as in MTAN and TorchJD (LibMTL:
over samples). r_i is 1 where it is not known.

With `window` k it is the variant of nash-mtl and SamsungLabs (k = 25): L_i(e - 1) and L_i(e - 2) are the
means over the last k steps, this one included, and the k before them; r_i is 1 in the first k + 1 steps, and
1 stands for the losses before the first step; the total is the mean, not the sum, of w_i L_i.
"""

import torch
from torch import Tensor

from mtlbench.balancing import Scalarization, Step
from mtlbench.search.spaces import Range, domains
from mtlbench.tasks import Tasks

from ._options import require_positive


class DWA(Scalarization):
    """Tasks whose loss falls slowly weigh more.

    Args:
        temperature: > 0; the larger, the more equal the weights.
        window: steps that a mean loss is taken over; None: epochs.
    """

    # Four times below and above the published 2.
    search_space = domains(temperature=Range(0.5, 8, log=True))
    per_task = ("sums", "counts", "last", "before_last", "history", "seen")
    epoch: Tensor
    sums: Tensor
    counts: Tensor
    last: Tensor
    before_last: Tensor
    history: Tensor
    seen: Tensor

    def __init__(self, tasks: Tasks, *, temperature: float = 2.0, window: int | None = None) -> None:
        super().__init__(tasks)
        require_positive("dwa", temperature=temperature)
        self.temperature = temperature
        self.window = window
        self.linear = window is None  # the window's weights depend on the losses of the step
        if window is not None:
            require_positive("dwa", window=window)
            self.register_buffer("history", torch.ones(len(tasks), 2 * window, dtype=torch.float64))
            self.register_buffer("seen", torch.zeros(len(tasks), dtype=torch.int64))
            return
        self.register_buffer("epoch", torch.zeros((), dtype=torch.int64))
        for name in ("sums", "counts"):  # of the running epoch
            self.register_buffer(name, torch.zeros(len(tasks), dtype=torch.float64))
        for name in ("last", "before_last"):  # mean losses of the two epochs before; NaN = not known yet
            self.register_buffer(name, torch.full((len(tasks),), torch.nan, dtype=torch.float64))

    def total(self, losses: Tensor, step: Step) -> Tensor:
        ratio = self._ratio_of_epochs(step) if self.window is None else self._ratio_of_windows(step)
        ratio = torch.where(ratio.isfinite(), ratio, 1.0)  # not known, or a mean loss of exactly 0
        weights = len(losses) * torch.softmax(ratio / self.temperature, dim=0)
        weighted = weights.to(losses) * losses
        return weighted.sum() if self.window is None else weighted.mean()

    def observe(self, step: Step) -> None:
        if self.window is not None:
            self.history[step.active] = self._with_losses_of(step)
            self.seen[step.active] += 1
            return
        self._close_epoch(step.epoch)
        self.sums[step.active] += step.losses.to(self.sums)
        self.counts[step.active] += 1

    def _ratio_of_epochs(self, step: Step) -> Tensor:
        self._close_epoch(step.epoch)
        return (self.last / self.before_last)[step.active]

    def _close_epoch(self, epoch: int) -> None:
        """At the first step of a new epoch; else nothing changes."""
        ended = self.epoch < epoch
        known = ended & (self.counts > 0)
        self.before_last = torch.where(known, self.last, self.before_last)
        self.last = torch.where(known, self.sums / self.counts, self.last)
        self.sums.masked_fill_(ended, 0.0)
        self.counts.masked_fill_(ended, 0.0)
        self.epoch.fill_(epoch)

    def _ratio_of_windows(self, step: Step) -> Tensor:
        before, latest = self._with_losses_of(step).chunk(2, dim=1)
        known = self.seen[step.active] > latest.shape[1]
        return torch.where(known, latest.mean(1) / before.mean(1), torch.nan)

    def _with_losses_of(self, step: Step) -> Tensor:
        """The history (T, 2 k) of the active tasks, moved on by this step."""
        losses = step.losses.to(self.history)
        return torch.cat([self.history[step.active][:, 1:], losses[:, None]], dim=1)
