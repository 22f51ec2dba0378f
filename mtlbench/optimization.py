"""Optimizers and learning rates of a recipe."""

from __future__ import annotations

from typing import Any

import torch

from mtlbench.model import Method
from mtlbench.spec import Recipe


def make_optimizer(network: Method, recipe: Recipe) -> torch.optim.Optimizer:
    """One group for the backbone, one for the rest; weight decay on everything, as published."""
    backbone = [p for p in network.backbone_parameters() if p.requires_grad]
    known = set(backbone)
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
    return torch.optim.AdamW(groups, lr=recipe.lr, weight_decay=recipe.weight_decay)


def learning_rate(recipe: Recipe, step: int) -> float:
    """At optimizer step `step`, from 0."""
    decay = (1 - step / recipe.iterations) ** recipe.power if recipe.schedule == "poly" else 1.0
    warm = min(1.0, (step + 1) / (recipe.warmup + 1))
    return recipe.lr * decay * warm


def set_learning_rate(optimizer: Any, recipe: Recipe, step: int) -> None:
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(recipe, step) * group["factor"]
