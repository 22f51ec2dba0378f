"""Steps of loss-based balancers, without a network."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mtlbench.balancing import Scalarization, Step

LOSSES = torch.tensor([2.0, 0.3, 0.05], dtype=torch.float64)


def at(losses: Tensor, index: int = 0, epoch: int = 0, active: Sequence[int] | None = None) -> Step:
    positions = torch.arange(len(losses)) if active is None else torch.tensor(active)
    return Step(index, epoch, positions, losses, torch.Generator().manual_seed(index))


def ask(balancer: Scalarization, step: Step) -> tuple[Tensor, Tensor]:
    """The total, and the weights (T,): its gradient at the losses."""
    losses = step.losses.clone().requires_grad_()
    total = balancer.total(losses, step)
    balancer.zero_grad()
    total.backward()
    assert losses.grad is not None
    return total.detach(), losses.grad


def weights(balancer: Scalarization, losses: Tensor, **where: Any) -> Tensor:
    return ask(balancer, at(losses, **where))[1]


def learn(balancer: Scalarization, step: Step, after: Tensor) -> None:
    """One step of training; own parameters are left alone."""
    ask(balancer, step)
    balancer.observe(step)
    if balancer.sees_change:
        balancer.observe_change(step, after)


def trained(balancer: Scalarization, rounds: int = 3) -> Scalarization:
    """After some steps, each an epoch, in which the first task improves fastest."""
    for i in range(rounds):
        rates = torch.tensor([0.5, 0.9, 1.1], dtype=torch.float64)
        learn(balancer, at(LOSSES * rates**i, i, i), LOSSES * rates ** (i + 1))
    return balancer
