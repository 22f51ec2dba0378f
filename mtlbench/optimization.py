"""Optimizers and learning rates of a recipe."""

from __future__ import annotations

import math
from typing import Any

import torch

from mtlbench.model import Method
from mtlbench.spec import Recipe

ROUNDING = 1e-9
"""Of shares such as a third, so that the rate drops at that step and not one later."""


def make_optimizer(
    network: Method, recipe: Recipe, *, own: torch.optim.Optimizer | None = None
) -> torch.optim.Optimizer:
    """One group for the backbone, one for the rest; weight decay on everything, as published.

    What the network's own optimizer steps is left out.
    """
    known = {p for group in own.param_groups for p in group["params"]} if own is not None else set()
    backbone = [p for p in network.backbone_parameters() if p.requires_grad and p not in known]
    known |= set(backbone)
    rest = [p for p in network.parameters() if p.requires_grad and p not in known]
    groups = [
        {"params": parameters, "factor": factor}
        for parameters, factor in ((backbone, recipe.backbone_lr), (rest, 1.0))
        if parameters
    ]
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(
            groups, lr=recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay
        )
    kind = torch.optim.Adam if recipe.optimizer == "adam" else torch.optim.AdamW
    return kind(groups, lr=recipe.lr, weight_decay=recipe.weight_decay)


def learning_rate(recipe: Recipe, step: int) -> float:
    """At optimizer step `step`, from 0."""
    warm = min(1.0, (step + 1) / (recipe.warmup + 1))
    return recipe.lr * _decay(recipe, step) * warm


def _decay(recipe: Recipe, step: int) -> float:
    """Share of the rate that the schedule leaves."""
    if recipe.schedule == "poly":
        return float((1 - step / recipe.iterations) ** recipe.power)
    if recipe.schedule == "cosine":
        share = max(0, step - recipe.warmup) / max(1, recipe.iterations - recipe.warmup)
        return recipe.floor + (1 - recipe.floor) * (1 + math.cos(math.pi * share)) / 2
    if recipe.schedule == "step":
        return recipe.drop ** int(step / (recipe.iterations * recipe.drop_every) + ROUNDING)
    return 1.0


def set_learning_rate(optimizer: Any, recipe: Recipe, step: int) -> None:
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(recipe, step) * group["factor"]
