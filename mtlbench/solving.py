"""Asking a balancer for weights, so that it never sees what has no answer."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from mtlbench.balancing import CrossWeighting, Step, Unsolvable, Weighting


def solve(balancer: Weighting | CrossWeighting, products: Tensor, step: Step) -> Tensor:
    """Weights (T,) float64 for the inner products of task gradients (T, T) float64 on the CPU.

    A task whose gradient is exactly zero is left out; its weight is 1.

    Raises:
        Unsolvable: the products are not finite, or the balancer finds no finite weights.
    """
    if not products.isfinite().all():
        raise Unsolvable("the inner products of the task gradients are not finite")
    weights = torch.ones(len(products), dtype=torch.float64)
    kept = ((products != 0).any(0) & (products != 0).any(1)).nonzero().flatten()
    if len(kept) == 0:
        return weights
    losses = step.losses.double().cpu()
    part = replace(step, active=step.active[kept], losses=losses[kept])
    found = balancer.weights(products[kept][:, kept], part)
    assert found.dtype == torch.float64, f"weights must be float64, found {found.dtype}"
    if not found.isfinite().all():
        raise Unsolvable(f"weights are not finite: {found.tolist()}")
    weights[kept] = found
    return weights
