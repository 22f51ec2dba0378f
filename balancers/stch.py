"""Smooth Tchebycheff scalarization (STCH).

Lin, Zhang, Yang, Liu, Wang, Zhang: Smooth Tchebycheff Scalarization for Multi-Objective Optimization,
ICML 2024.

A smooth maximum of the losses: with LSE_mu(y) = mu ln sum_i exp(y_i / mu), two forms:

    log:     total = T LSE_mu(ln(L_i / n_i))             weights T softmax(ln(L / n) / mu)_i / L_i
    linear:  total = LSE_mu(lambda_i (L_i - z_i))        weights lambda_i softmax(lambda (L - z) / mu)_i

`log` is the authors' code for multi-task learning, and LibMTL's (mu 1, warm-up 4): the total is sum_i ln L_i
in the epochs up to and including `warmup`, and n_i (the nadir) the mean loss of the epoch `warmup`. A task
that first takes part after that epoch has its first loss for n_i. `linear` is the formula of the paper, and
TorchJD's, with preferences lambda_i and ideal losses z_i.

1e-20 is added to losses before the logarithm.
"""

from typing import Literal, get_args

import torch
from torch import Tensor

from mtlbench.balancing import Scalarization, Step
from mtlbench.errors import MtlbenchError
from mtlbench.search.spaces import Range, domains
from mtlbench.tasks import Tasks

from ._options import require_choice, require_positive, values_by_task

Form = Literal["log", "linear"]
EPSILON = 1e-20


class STCH(Scalarization):
    """A smooth maximum of the losses.

    Args:
        form: `log` of losses relative to a nadir, or `linear` (see the module).
        mu: > 0; towards 0 only the largest term counts.
        warmup: for `log`: the epoch, from 0, whose mean losses are the nadir.
        preference: for `linear`: task -> lambda > 0; a task that is not named has 1 / T.
        reference: for `linear`: task -> ideal loss; a task that is not named has 0.
    """

    # A decade below and above the published 1.
    search_space = domains(mu=Range(0.1, 10, log=True))
    per_task = ("sums", "counts")
    sums: Tensor
    counts: Tensor
    ideal: Tensor
    preference: Tensor | None  # None: 1 / T of the tasks that take part

    def __init__(
        self,
        tasks: Tasks,
        *,
        form: Form = "log",
        mu: float = 1.0,
        warmup: int = 4,
        preference: dict[str, float] | None = None,
        reference: dict[str, float] | None = None,
    ) -> None:
        super().__init__(tasks)
        require_choice("stch", "form", form, get_args(Form))
        require_positive("stch", mu=mu)
        if not warmup >= 0:
            raise MtlbenchError(f"`warmup` of balancer `stch` must be >= 0, got {warmup}")
        for option, value in (("preference", preference), ("reference", reference)):
            if value is not None and form != "linear":
                raise MtlbenchError(f"`{option}` of balancer `stch` needs `form` linear, got {form}")
        self.form = form
        self.mu = mu
        self.warmup = warmup
        if form == "log":
            for name in self.per_task:  # of losses in the epoch `warmup`
                self.register_buffer(name, torch.zeros(len(tasks), dtype=torch.float64))
            return
        ideal = values_by_task("stch", "reference", tasks, reference, 0.0)
        self.register_buffer("ideal", ideal, persistent=False)
        require_positive("stch", **{f"preference.{task}": v for task, v in (preference or {}).items()})
        given = values_by_task("stch", "preference", tasks, preference, 1 / len(tasks))
        self.register_buffer("preference", given if preference else None, persistent=False)

    def total(self, losses: Tensor, step: Step) -> Tensor:
        return self._total_linear(losses, step) if self.form == "linear" else self._total_log(losses, step)

    def observe(self, step: Step) -> None:
        if self.form == "linear" or step.epoch < self.warmup:
            return
        counted = self.counts[step.active]
        new = torch.full_like(counted, step.epoch == self.warmup, dtype=torch.bool) | (counted == 0)
        self.sums[step.active] += torch.where(new, step.losses.to(self.sums), 0.0)
        self.counts[step.active] += new

    def _total_log(self, losses: Tensor, step: Step) -> Tensor:
        logs = (losses + EPSILON).log()
        if step.epoch <= self.warmup:
            return logs.sum()
        counted = self.counts[step.active]
        nadir = torch.where(counted > 0, self.sums[step.active] / counted, step.losses.to(self.sums))
        return len(losses) * self._smooth_maximum(logs - (nadir + EPSILON).log().to(losses))

    def _total_linear(self, losses: Tensor, step: Step) -> Tensor:
        gaps = losses - self.ideal[step.active].to(losses)
        if self.preference is None:
            return self._smooth_maximum(gaps / len(losses))
        return self._smooth_maximum(self.preference[step.active].to(losses) * gaps)

    def _smooth_maximum(self, y: Tensor) -> Tensor:
        largest = y.detach().max()  # taken out first, so that no exponent overflows
        return self.mu * ((y - largest) / self.mu).logsumexp(0) + largest
