"""Fast adaptive multitask optimization (FAMO).

Liu, Feng, Stone, Liu: FAMO: Fast Adaptive Multitask Optimization, NeurIPS 2023, algorithm 2.

With a logit xi_i per task, lower bounds b_i of the losses, z = softmax(xi) and D_i = L_i - b_i + 1e-8:

    total = 1/c sum_i z_i ln D_i,   c = sum_i z_i / D_i (a constant)

so that weights are z_i / (c D_i) and sum to 1. After the optimizer step the same batch's losses are taken
once more, and an Adam step with weight decay gamma descends

    delta_i = ln D_i(before) - ln D_i(after),   d/dxi = z * (delta - z . delta)

so that tasks that improved least gain weight.

Defaults are those of the paper, LibMTL and TorchJD (lr 0.025, gamma 1e-3; in the authors' code gamma is 1e-2
or 1e-5, depending on the file, and the shared gradient is clipped to norm 1, which is left to the training
here). Tasks that don't take part in a step keep their logits, moments and step counts. A task whose loss is
below its bound has weight 0 in that step, where published code takes the logarithm of a negative number.
"""

import torch
from torch import Tensor

from mtlbench.balancing import Scalarization, Step
from mtlbench.errors import MtlbenchError
from mtlbench.search.spaces import Range, domains
from mtlbench.tasks import Tasks

from ._options import require_positive, values_by_task

EPSILON = 1e-8
BETAS = (0.9, 0.999)


class FAMO(Scalarization):
    """Log losses, weighted such that all of them fall at the same rate.

    Args:
        lr: learning rate of the logits, > 0.
        gamma: weight decay of the logits, >= 0.
        min_losses: task -> the loss that can't be undercut; 0 for a task that is not named.
    """

    # gamma: the values of the authors' files; lr: a decade below and above the published one.
    search_space = domains(lr=Range(0.0025, 0.25, log=True), gamma=Range(1e-5, 1e-2, log=True))
    per_task = ("logits", "first_moments", "second_moments", "counts")
    sees_change = True
    logits: Tensor
    first_moments: Tensor
    second_moments: Tensor
    counts: Tensor
    bounds: Tensor

    def __init__(
        self,
        tasks: Tasks,
        *,
        lr: float = 0.025,
        gamma: float = 1e-3,
        min_losses: dict[str, float] | None = None,
    ) -> None:
        super().__init__(tasks)
        require_positive("famo", lr=lr)
        if not gamma >= 0:
            raise MtlbenchError(f"`gamma` of balancer `famo` must be >= 0, got {gamma}")
        self.lr = lr
        self.gamma = gamma
        bounds = values_by_task("famo", "min_losses", tasks, min_losses, 0.0)
        self.register_buffer("bounds", bounds, persistent=False)
        for name in self.per_task:
            self.register_buffer(name, torch.zeros(len(tasks), dtype=torch.float64))

    def total(self, losses: Tensor, step: Step) -> Tensor:
        above = losses - self.bounds[step.active].to(losses)
        z = self.logits[step.active].softmax(0).to(losses).masked_fill(above < 0, 0.0)
        gaps = above.clamp(min=0) + EPSILON
        c = (z / gaps).sum().detach().clamp(min=torch.finfo(losses.dtype).tiny)
        return (z / c * gaps.log()).sum()

    def observe_change(self, step: Step, after: Tensor) -> None:
        delta = self._log_gaps(step.losses, step) - self._log_gaps(after, step)
        if delta.isfinite().all():
            z = self.logits[step.active].softmax(0)
            self._descend(z * (delta - z @ delta), step.active)

    def _log_gaps(self, losses: Tensor, step: Step) -> Tensor:
        return ((losses.to(self.bounds) - self.bounds[step.active]).clamp(min=0) + EPSILON).log()

    def _descend(self, gradient: Tensor, active: Tensor) -> None:
        """One step of Adam on the logits of the active tasks."""
        gradient = gradient + self.gamma * self.logits[active]
        self.counts[active] += 1
        for moments, power, beta in (
            (self.first_moments, 1, BETAS[0]),
            (self.second_moments, 2, BETAS[1]),
        ):
            moments[active] = beta * moments[active] + (1 - beta) * gradient**power
        first = self.first_moments[active] / (1 - BETAS[0] ** self.counts[active])
        second = self.second_moments[active] / (1 - BETAS[1] ** self.counts[active])
        self.logits[active] -= self.lr * first / (second.sqrt() + EPSILON)
