"""Tunings with weights of each task's own: whose predictions they change, and who trains them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from mtlbench.registry import registry
from mtlbench.testing import tiny_tasks
from mtlbench.testing.tunings import TinyHeads, tiny_swin

CASES: list[tuple[str, dict[str, Any]]] = [
    ("bitfit", {"per_task": True}),
    ("lora", {"per_task": True}),
    ("adapter", {}),
    ("vpt_shallow", {"prompts": 2}),
    ("vpt_deep", {"prompts": 2}),
    ("hyperformer", {"reduction": 2, "embedding": 4}),
    ("polyhistor", {"rank": 2, "embedding": 4}),
    ("mtlora", {"r": 2, "task_r": 2}),
    ("ditask", {"cells": 4}),
]
ONE = "normals"
OTHERS = [task for task in tiny_tasks() if task != ONE]

every_tuning = pytest.mark.parametrize(("tuning", "options"), CASES, ids=[name for name, _ in CASES])


def tuned(tuning: str, options: dict[str, Any], *, seed: int = 0) -> TinyHeads:
    """All that trains is another number than at first."""
    torch.manual_seed(seed)
    network = TinyHeads(tiny_swin(), tiny_tasks())
    registry.load("tuning", tuning)(**options).apply(network)
    for parameter in network.backbone.parameters():
        if parameter.requires_grad:
            parameter.data += 0.1 * torch.randn_like(parameter)
    return network.eval()


def own(network: TinyHeads, task: str) -> dict[str, Tensor]:
    """What trains in the backbone for this task alone, by name."""
    named = network.backbone.named_parameters()
    found = {name: p for name, p in named if p.requires_grad and task in name.split(".")}
    assert found
    return found


@every_tuning
def test_predictions_of_one_task_change(tuning: str, options: dict[str, Any]) -> None:
    network, images = tuned(tuning, options), torch.randn(2, 3, 37, 53)
    with torch.no_grad():
        before = network(images).final
        for parameter in own(network, ONE).values():
            parameter += torch.randn_like(parameter)
        after = network(images).final
    assert (after[ONE] - before[ONE]).abs().max() > 1e-3
    assert all(torch.equal(after[task], before[task]) for task in OTHERS)


@every_tuning
def test_a_task_trains_its_own(tuning: str, options: dict[str, Any]) -> None:
    network = tuned(tuning, options)
    network(torch.randn(2, 3, 32, 48)).final[ONE].square().mean().backward()
    assert all(p.grad is not None and p.grad.any() for p in own(network, ONE).values())
    assert not [
        n for task in OTHERS for n, p in own(network, task).items() if p.grad is not None and p.grad.any()
    ]


@every_tuning
def test_state_dicts_hold_all(tuning: str, options: dict[str, Any]) -> None:
    network, other = tuned(tuning, options), tuned(tuning, options, seed=1)
    other.load_state_dict(network.state_dict())
    images = torch.randn(1, 3, 32, 48)
    with torch.no_grad():
        found, expected = other(images).final, network(images).final
    assert all(torch.equal(found[task], expected[task]) for task in expected)
