"""Gradient vaccine (GradVac), for the whole model.

Wang, Tsvetkov, Firat, Cao: Gradient Vaccine: Investigating and Improving Multi-task Optimization in Massively
Multilingual Models, ICLR 2021.

For each task i, h starts at g_i; for the other tasks j in random order: with phi the cosine of h and g_j, and
the target phi^_ij, where phi < phi^_ij,

    h <- h + |h| (phi^ sqrt(1 - phi^2) - phi sqrt(1 - phi^^2)) / (|g_j| sqrt(1 - phi^^2)) g_j

so that the cosine becomes the target; then phi^_ij <- (1 - beta) phi^_ij + beta phi. The update is the sum of
all h.

Departures: targets are updated whether or not h was corrected (TorchJD; LibMTL's git main; version 1.1.5 only
where it was). Nothing is added to denominators; 1 - phi^2 is clamped at 0, and sqrt(1 - phi^^2) at 1e-8, so
that a target of 1 stays within reach. Targets begin at 0, so that the first step is PCGrad's. `beta` is 0.5
as in both libraries.
"""

from itertools import product
from typing import Any

import torch
from torch import Tensor

from mtlbench.balancing import Step, Weighting
from mtlbench.errors import MtlbenchError
from mtlbench.search.spaces import Range, domains
from mtlbench.tasks import Tasks

from .pcgrad import random_orders
from .solvers.gramians import unit


class GradVac(Weighting):
    """Gradients turn towards others until their cosine is what it was on average.

    Args:
        beta: share of the newest cosine in the targets, 0 to 1.
    """

    # From the paper's 0.01 over the libraries' 0.5 to no memory at all.
    search_space = domains(beta=Range(0.01, 1, log=True))
    targets: Tensor

    def __init__(self, tasks: Tasks, *, beta: float = 0.5, **common: Any) -> None:
        super().__init__(tasks, **common)
        if not 0 <= beta <= 1:
            raise MtlbenchError(f"`beta` of balancer `gradvac` must be between 0 and 1, got {beta}")
        self.beta = beta
        self.register_buffer("targets", torch.zeros(len(tasks), len(tasks), dtype=torch.float64))

    def weights(self, gramian: Tensor, step: Step) -> Tensor:
        active = step.active.cpu()
        place = (active[:, None], active)
        orders = random_orders(len(gramian), step.generator)
        weights, self.targets[place] = vaccinate(gramian, self.targets[place], orders, self.beta)
        return weights

    def state_by_task(self) -> dict[str, Any]:
        pairs = product(self.task_names, repeat=2)
        return {"targets": dict(zip(pairs, self.targets.flatten().clone(), strict=True))}

    def load_state_by_task(self, state: dict[str, Any]) -> None:
        known = self.state_by_task()["targets"] | state["targets"]
        values = [known[pair].to(self.targets) for pair in product(self.task_names, repeat=2)]
        self._assign("targets", torch.stack(values).view_as(self.targets))


def vaccinate(gramian: Tensor, targets: Tensor, orders: Tensor, beta: float) -> tuple[Tensor, Tensor]:
    """Weights (T,) and new targets (T, T), where task i visits the others in the order `orders[i]` (T, T)."""
    cosines, norms = unit(gramian)
    targets = targets.clone()
    coefficients = torch.eye(len(gramian), dtype=gramian.dtype)  # of unit rows, for h / |g_i|
    tasks = torch.arange(len(gramian))
    for visited in orders.T:  # one for each task
        images = coefficients @ cosines
        length = (coefficients * images).sum(1).clamp(min=0).sqrt()
        cosine = (images[tasks, visited] / length).nan_to_num(nan=0.0).clamp(-1, 1)
        target = targets[tasks, visited]
        sine, target_sine = ((1 - x * x).clamp(min=0).sqrt() for x in (cosine, target))
        change = length * (target * sine - cosine * target_sine) / target_sine.clamp(min=1e-8)
        other = visited != tasks
        coefficients[tasks, visited] += torch.where(other & (cosine < target), change, 0.0)
        targets[tasks, visited] = torch.where(other, (1 - beta) * target + beta * cosine, target)
    return (norms[:, None] * coefficients / norms).sum(0), targets
