"""Direction-oriented multi-objective gradient descent (SDMGrad).

Xiao, Ban, Ji: Direction-oriented Multi-objective Learning: Simple and Provable Stochastic Algorithms, NeurIPS
2023.

With the task gradients J1, J2 of two independent batches, the mean m of sqrt(max(0, diagonal of J1 J2^T)),
and the projection onto the simplex, w takes some steps (with velocity v = 0 at the first of them):

    A = J1 J2^T / (m^2 + 1e-8)
    v <- momentum v + A (w + lam 1/T),   w <- projection(w - lr v)

The task gradients of a third batch are weighed (w + lam 1/T) / (1 + lam). w starts at 1 / T and goes on from
step to step. lr is 5 as in LibMTL (TorchJD: 10). Departure: LibMTL lets a task's own parameters have the sum
of three batches' gradients; here that is their mean, the engine's rule.
"""

import torch
from torch import Tensor

from mtlbench.balancing import CrossWeighting, Step
from mtlbench.errors import MtlbenchError
from mtlbench.search.spaces import Range, domains
from mtlbench.tasks import Tasks

from .solvers.simplex import project_to_simplex


class SDMGrad(CrossWeighting):
    """Common descent near the mean gradient's direction; takes three batches a step.

    Args:
        lam: pull towards the mean gradient, >= 0.
        inner_steps: on the weights, each optimizer step; >= 1.
        lr: of those, > 0.
        momentum: of those, >= 0 and < 1.
    """

    # Around the published 0.3.
    search_space = domains(lam=Range(0.03, 10, log=True))
    per_task = ("preference",)
    preference: Tensor

    def __init__(
        self, tasks: Tasks, *, lam: float = 0.3, inner_steps: int = 20, lr: float = 5.0, momentum: float = 0.5
    ) -> None:
        super().__init__(tasks)
        right = {
            "lam": (lam >= 0, ">= 0", lam),
            "inner_steps": (inner_steps >= 1, ">= 1", inner_steps),
            "lr": (lr > 0, "> 0", lr),
            "momentum": (0 <= momentum < 1, ">= 0 and < 1", momentum),
        }
        for name, (holds, rule, value) in right.items():
            if not holds:
                raise MtlbenchError(f"`{name}` of balancer `sdmgrad` must be {rule}, got {value}")
        self.lam = lam
        self.inner_steps = inner_steps
        self.step_size = lr  # `lr` is that of an Adam for parameters, which there are none of
        self.momentum = momentum
        start = torch.full((len(tasks),), 1 / len(tasks), dtype=torch.float64)
        self.register_buffer("preference", start)

    def weights(self, cross: Tensor, step: Step) -> Tensor:
        scale = cross.diagonal().clamp(min=0).sqrt().mean()
        scaled = cross / (scale**2 + 1e-8)
        pull = self.lam / len(cross)
        w = project_to_simplex(self.preference[step.active].cpu())
        velocity = torch.zeros_like(w)
        for _ in range(self.inner_steps):
            velocity = self.momentum * velocity + scaled @ (w + pull)
            w = project_to_simplex(w - self.step_size * velocity)
        self.preference[step.active] = w.to(self.preference)
        return (w + pull) / (1 + self.lam)
