"""Gradient sign dropout (GradDrop).

Chen, Ngiam, Huang, Luong, Kretzschmar, Chai, Anguelov: Just Pick a Sign: Optimizing Deep Multitask Models
with Gradient Sign Dropout, NeurIPS 2020, algorithm 1.

With a signal x_i per task and a uniform draw U per element:

    P = (1 + sum_i x_i / sum_i |x_i|) / 2
    M_i = [x_i > 0][P > U] + [x_i < 0][P < U]
    update = sum_i (l_i + (1 - l_i) M_i) g_i,   l_i the leak of task i

Three different methods go by this name; `variant` says which:

- `feature` (the paper, LibMTL): at the backbone's maps z, x_i = sum over the batch of sign(z) dL_i/dz, so
  that one mask holds for the whole batch;
- `parameter` (TorchJD, and the experiments of CAGrad's authors): at the shared parameters, x_i = g_i;
- `task` (SamsungLabs): at the backbone's maps, x_i is summed over all elements, too: one number, and one
  mask, per task.

Rows without maps count as those of one map of one sample with z > 0. Departures: no 1e-7 in the denominator
(LibMTL), so that the scale of the losses doesn't matter; uniforms are drawn on the CPU, the same on every
device.
"""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from mtlbench.balancing import Aggregation, Step
from mtlbench.errors import MtlbenchError
from mtlbench.search.spaces import Range, domains
from mtlbench.tasks import Tasks

from ._options import require_choice, values_by_task


class GradDrop(Aggregation):
    """Where tasks disagree on a gradient's sign, only one sign is kept, at random.

    Args:
        variant: what is masked; see above.
        leak: share of a masked gradient that passes, 0 to 1; one for all tasks, or by task (others: 0).
    """

    # From the published 0 to the plain sum.
    search_space = domains(leak=Range(0, 1))
    leak: Tensor

    def __init__(
        self,
        tasks: Tasks,
        *,
        variant: Literal["feature", "parameter", "task"] = "feature",
        leak: float | dict[str, float] = 0.0,
    ) -> None:
        require_choice("graddrop", "variant", variant, ("feature", "parameter", "task"))
        super().__init__(tasks, at="parameters" if variant == "parameter" else "representation")
        self.variant = variant
        by_task, for_all = (leak, 0.0) if isinstance(leak, Mapping) else (None, leak)
        values = values_by_task("graddrop", "leak", tasks, by_task, for_all)
        if not ((values >= 0) & (values <= 1)).all():
            raise MtlbenchError(f"`leak` of balancer `graddrop` must be 0 to 1, got {leak}")
        self.register_buffer("leak", values, persistent=False)

    def combine(self, rows: Tensor, step: Step) -> Tensor:
        per_sample = sum(m[0].numel() for m in step.features) if step.features else rows.shape[1]
        draws = torch.rand(1 if self.variant == "task" else per_sample, generator=step.generator)
        return self.masked(rows, draws.to(rows), step)

    def masked(self, rows: Tensor, uniform: Tensor, step: Step) -> Tensor:
        """Task gradients (T, P) and draws, one per element of one sample's maps -> the update (P,)."""
        maps = [m.flatten(1) for m in step.features] or [rows.new_ones(1, rows.shape[1])]
        gradients = [
            g.unflatten(1, m.shape)
            for g, m in zip(rows.split([m.numel() for m in maps], 1), maps, strict=True)
        ]
        signal = torch.cat([_signal(g, m) for g, m in zip(gradients, maps, strict=True)], dim=1)
        if self.variant == "task":
            signal = signal.sum(1, keepdim=True)
        lengths = [m.shape[1] for m in maps]
        factors = self._factors(signal, uniform, step.active).expand(-1, sum(lengths)).split(lengths, 1)
        return torch.cat([_weighted_sum(g, f).flatten() for g, f in zip(gradients, factors, strict=True)])

    def _factors(self, signal: Tensor, uniform: Tensor, active: Tensor) -> Tensor:
        """Signal (T, N), draws (N,) -> what each element of each task's gradient is multiplied by (T, N)."""
        total = signal.abs().sum(0)
        purity = torch.where(total > 0, (1 + signal.sum(0) / total) / 2, 0.5)
        mask = ((signal > 0) & (purity > uniform)) | ((signal < 0) & (purity < uniform))
        leak = self.leak[active.to(self.leak.device)].to(signal)[:, None]
        return leak + (1 - leak) * mask


def _signal(gradients: Tensor, features: Tensor) -> Tensor:
    """Gradients (T, B, F) at maps (B, F) -> sum over the batch of sign(z) dL_i/dz, (T, F)."""
    sign = features.sign().to(gradients)
    return torch.stack([(g * sign).sum(0) for g in gradients])


def _weighted_sum(gradients: Tensor, factors: Tensor) -> Tensor:
    """(T, B, F) and (T, F) -> (B, F); task by task, to need little memory."""
    total = torch.zeros_like(gradients[0])
    for g, f in zip(gradients, factors, strict=True):
        total.addcmul_(g, f)
    return total
