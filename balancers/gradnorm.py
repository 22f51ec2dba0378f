"""Gradient normalisation (GradNorm).

Chen, Badrinarayanan, Lee, Rabinovich: GradNorm: Gradient Normalization for Adaptive Loss Balancing in Deep
Multitask Networks, ICML 2018, equations 1-2 and algorithm 1.

At the last layer that all tasks share, with L(0) the losses at the start of the training:

    G_i = w_i n_i,   n_i = |dL_i / dW|,   r_i = (L_i / L_i(0)) / mean(L / L(0)),   total = sum_i w_i L_i

and w descends sum_i |G_i - mean(G) r_i^alpha|, the target held constant. G_i is linear in w_i, so that no
second derivative is needed. w = T softmax(s), whose sum is T by construction (LibMTL; the paper divides by
the sum after each step), so that with e_i = sign(G_i - mean(G) r_i^alpha)

    ds_j = w_j (e_j n_j - sum_i e_i n_i w_i / T)

A step uses the weights from before its own update. Tasks that are absent, or have no gradient at that layer,
are left out: the weights of the others then sum to their number. Between two solves (`every`), w rests.

Departures: s has an Adam of its own with lr 0.025 (the paper: an optimizer of its own for w with that lr;
LibMTL: the network's). L(0) are the losses of the first step that has the task (`initial: first`); LibMTL
takes the mean over the first epoch, in which all tasks weigh 1 (`initial: epoch`; here the mean over
batches). LibMTL takes norms over all shared parameters (`at: parameters`), and doesn't weigh a task's own
parameters (`weigh_own: false`).
"""

from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from mtlbench.balancing import Place, Step, Unsolvable, Weighting
from mtlbench.errors import MtlbenchError
from mtlbench.search.spaces import Range, domains
from mtlbench.tasks import Tasks

from ._options import require_choice, require_positive

Initial = Literal["first", "epoch"]


class GradNorm(Weighting):
    """Loss weights for which tasks train at one rate.

    Args:
        alpha: >= 0; how strongly tasks are pulled back to a common rate of training.
        initial: whose losses are L(0): of the first step, or the mean of the first epoch.
        lr: learning rate of s, > 0.
        weigh_own: whether w weighs each task's own parameters, too.
        at: where task gradients are taken.
    """

    # alpha: where the paper finds a gain; lr: a decade below and above the published one.
    search_space = domains(alpha=Range(0, 3), lr=Range(0.0025, 0.25, log=True))
    per_task = ("logits", "initial_losses", "counts", "used")
    initial_losses: Tensor
    counts: Tensor
    used: Tensor

    def __init__(
        self,
        tasks: Tasks,
        *,
        alpha: float = 1.5,
        initial: Initial = "first",
        lr: float = 0.025,
        weigh_own: bool = True,
        at: Place = "last_layer",
        **common: Any,
    ) -> None:
        super().__init__(tasks, at=at, **common)
        if not 0 <= alpha < float("inf"):
            raise MtlbenchError(f"`alpha` of balancer `gradnorm` must be >= 0 and finite, got {alpha}")
        require_positive("gradnorm", lr=lr)
        require_choice("gradnorm", "initial", initial, get_args(Initial))
        self.alpha = alpha
        self.initial = initial
        self.lr = lr
        self.weigh_own = weigh_own
        self.logits = nn.Parameter(torch.ones(len(tasks), dtype=torch.float64))  # s
        for name in ("initial_losses", "counts"):  # L(0), and of how many steps it is the mean
            self.register_buffer(name, torch.zeros(len(tasks), dtype=torch.float64))
        self.register_buffer("used", torch.ones(len(tasks), dtype=torch.float64))  # w, as last used

    def weights(self, gramian: Tensor, step: Step) -> Tensor:
        if self.initial == "epoch" and step.epoch == 0:
            return torch.ones(len(gramian), dtype=torch.float64)
        unseen = step.active[self.counts[step.active] == 0]
        if len(unseen):
            self._note(unseen, step.losses[self.counts[step.active] == 0])
        count = len(gramian)
        weights = count * self.logits.detach()[step.active].softmax(0)
        rates = step.losses / self.initial_losses[step.active]
        targets = (weights * gramian.diagonal().sqrt()).mean() * (rates / rates.mean()) ** self.alpha
        if not targets.isfinite().all():
            raise Unsolvable("rates of training need losses > 0")
        norms = gramian.diagonal().sqrt()
        pulls = (weights * norms - targets).sign() * norms
        grad = torch.zeros_like(self.used)
        grad[step.active] = weights * (pulls - (pulls * weights).sum() / count)
        self.logits.grad = grad
        self.used[step.active] = weights
        return weights

    def own_weights(self, step: Step) -> Tensor | None:
        return self.used[step.active] if self.weigh_own else None

    def observe(self, step: Step) -> None:
        if self.initial == "epoch" and step.epoch == 0:
            self._note(step.active, step.losses.to(self.initial_losses))

    def _note(self, active: Tensor, losses: Tensor) -> None:
        """Takes losses (T,) of some tasks into the mean that is L(0)."""
        self.counts[active] += 1
        self.initial_losses[active] += (losses - self.initial_losses[active]) / self.counts[active]
