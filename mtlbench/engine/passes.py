"""Backward passes, above and below the cut."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from mtlbench.engine.cut import Map

Gradients = Sequence[Tensor | None]
"""One per target; None where the target isn't reached."""


def above(
    losses: Sequence[Tensor], maps: Sequence[Map], targets: Sequence[Sequence[Tensor]], keep: bool = False
) -> tuple[list[Gradients], list[Gradients]]:
    """Differentiate each task's loss down to the cut: (task -> at the maps, task -> at its targets).

    Args:
        losses: one per task.
        maps: where the graph is cut.
        targets: task -> tensors above the cut.
        keep: keep the graph for another time.
    """
    leaves = [m.above for m in maps]
    at_maps: list[Gradients] = []
    at_targets: list[Gradients] = []
    for i, (loss, wanted) in enumerate(zip(losses, targets, strict=True)):
        inputs = [*leaves, *wanted]
        found: Gradients = [None] * len(inputs)
        if inputs and loss.requires_grad:
            more = keep or i + 1 < len(losses)  # what tasks share above the cut is needed again
            found = torch.autograd.grad(loss, inputs, retain_graph=more, allow_unused=True)
        at_maps.append(found[: len(leaves)])
        at_targets.append(found[len(leaves) :])
    return at_maps, at_targets


def descend(
    maps: Sequence[Map], targets: Sequence[Tensor], at_maps: Gradients, keep: bool = False
) -> Gradients:
    """Gradients at `targets`, below the cut, for one set of gradients at the maps."""
    pairs = [(m.below, g) for m, g in zip(maps, at_maps, strict=True) if g is not None]
    if not pairs or not targets:
        return [None] * len(targets)
    outputs, gradients = zip(*pairs, strict=True)
    return torch.autograd.grad(outputs, targets, gradients, retain_graph=keep, allow_unused=True)


def sequential(
    maps: Sequence[Map], targets: Sequence[Tensor], at_maps: Sequence[Gradients], keep: bool = False
) -> list[Gradients]:
    """One pass per task, one after the other: task -> at `targets`."""
    last = len(at_maps) - 1
    return [descend(maps, targets, gradients, keep or i < last) for i, gradients in enumerate(at_maps)]


def batched(
    maps: Sequence[Map], targets: Sequence[Tensor], at_maps: Sequence[Gradients], keep: bool = False
) -> list[Gradients]:
    """One pass for all tasks at once: task -> at `targets`."""
    if not maps or not targets:
        return sequential(maps, targets, at_maps, keep)
    stacked = [
        torch.stack([torch.zeros_like(m.below) if g is None else g for g in gradients])
        for m, gradients in zip(maps, zip(*at_maps, strict=True), strict=True)
    ]
    outputs = [m.below for m in maps]
    found = torch.autograd.grad(
        outputs, targets, stacked, retain_graph=keep, allow_unused=True, is_grads_batched=True
    )
    return [[None if g is None else g[i] for g in found] for i in range(len(at_maps))]


PASSES: dict[str, Callable[..., list[Gradients]]] = {"sequential": sequential, "batched": batched}
