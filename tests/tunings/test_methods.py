"""Every method decodes what every tuning makes of its backbone, or that is refused before anything runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from mtlbench.backbones.base import Backbone
from mtlbench.errors import MtlbenchError
from mtlbench.model import Method
from mtlbench.preflight import check_parts
from mtlbench.registry import registry
from mtlbench.spec import Cell, Choice
from mtlbench.testing import tiny_tasks
from mtlbench.testing.tunings import tiny_swin, tiny_vit

SMALL: dict[str, dict[str, Any]] = {
    "cross_stitch": {"start": "none"},
    "degmix": {"dim": 8, "depth": 1},
    "demt": {"dim": 8, "heads": 2},
    "ditasa": {"dim": 8, "heads": 2, "depth": 1, "points": 2},
    "invpt": {"embed_dim": 12, "extra_channels": 4},
    "invpt_pp": {"embed_dim": 12, "extra_channels": 4},
    "mqtransformer": {"dim": 8, "heads": 2, "tokens": 3, "channels": 4},
    "mtformer": {"dim": 8, "heads": 2, "window": 3},
    "mtlsi_net": {"dim": 8, "heads": 2, "tokens": 6, "window": 3},
    "mtmamba": {"states": 2, "expansion": 1},
    "mtmamba_plus": {"states": 2, "expansion": 1, "rank": 3, "head_channels": 5},
    "mult": {"depth": 1, "head_width": 4, "window": 3},
    "nddr_cnn": {"start": "none"},
    "pad_net": {"channels": 8},
    "pap": {"channels": 8},
    "psd": {"channels": 8},
    "taskprompter": {"input_size": (32, 32), "embed_dim": 6, "final_dim": 8, "channel_dim": 16},
}
OF_ALL = ("cross_stitch", "mtan", "nddr_cnn", "taskprompter")
"""Whose backbone, or backbones, can't give each task maps of its own."""
METHODS = [name for name in registry.names("method") if registry.load("method", name).needs_backbone]
TASKS = ("semseg", "normals")

MakeBackbone = Callable[[], Backbone]


def tuned(method: str, tuning: str, options: dict[str, Any], backbone: MakeBackbone = tiny_swin) -> Method:
    made = registry.load("method", method)
    names = TASKS[:1] if made.one_task else TASKS
    tasks = {name: tiny_tasks()[name] for name in names}
    network: Method = made(backbone(), tasks, **SMALL.get(method, {}))
    return registry.load("tuning", tuning)(**options).apply(network)  # type: ignore[no-any-return]


def check(network: Method) -> None:
    """All that trains gets a gradient, all tasks get predictions."""
    outputs = network.train()(torch.randn(2, 3, 32, 32))
    values = [*outputs.final.values(), *(x for found in outputs.auxiliary.values() for x in found.values())]
    losses = [value.square().mean() for value in values]
    penalty = network.penalty(list(network.tasks))
    torch.stack(losses if penalty is None else [*losses, penalty]).sum().backward()
    dead = network.dead_parameters
    named = {n: p for n, p in network.named_parameters() if p.requires_grad and not n.startswith(dead)}
    assert not [name for name, parameter in named.items() if parameter.grad is None]
    with torch.no_grad():
        final = network.eval()(torch.randn(1, 3, 37, 53)).final
    shapes = {name: tuple(value.shape) for name, value in final.items()}
    assert shapes == {name: (1, task.channels, 37, 53) for name, task in network.tasks.items()}


@pytest.mark.parametrize("name", [name for name in METHODS if name not in OF_ALL])
def test_maps_of_each_task_are_decoded(name: str) -> None:
    check(tuned(name, "vpt_shallow", {"prompts": 2}))


@pytest.mark.parametrize(
    ("method", "tuning", "options"),
    [
        ("taskprompter", "lora", {}),
        ("taskprompter", "adapter", {"per_task": False, "after": "both"}),
        ("cross_stitch", "adapter", {"per_task": False}),
        ("nddr_cnn", "lora", {}),
    ],
)
def test_blocks_that_are_worked_in_are_tuned(method: str, tuning: str, options: dict[str, Any]) -> None:
    network = tuned(method, tuning, options)
    assert any(p.requires_grad for p in network.backbone.parameters())
    check(network)


def resnet() -> Backbone:
    made: Backbone = registry.load("backbone", "resnet18")()
    return made


def test_mtan_finds_tuned_blocks() -> None:
    with torch.device("meta"):
        network = tuned("mtan", "lora", {}, resnet)
        assert list(network(torch.randn(2, 3, 64, 64)).final) == list(TASKS)


REFUSED: list[tuple[str, str, dict[str, Any], MakeBackbone, str]] = [
    ("mtan", "lora", {"per_task": True}, resnet, "MTAN works inside its blocks: .*`per_task: false`"),
    ("taskprompter", "mtlora", {}, tiny_swin, "TaskPrompter works inside its blocks"),
    ("taskprompter", "hyperformer", {}, tiny_swin, "TaskPrompter works inside its blocks"),
    ("taskprompter", "vpt_deep", {"per_task": False}, tiny_swin, "TaskPrompter works inside its blocks"),
    ("cross_stitch", "adapter", {}, tiny_vit, "CrossStitch has one for each task: .*`per_task: false`"),
    ("nddr_cnn", "polyhistor", {}, tiny_swin, "NDDRCNN has one for each task"),
    ("nddr_cnn", "ditask", {}, tiny_swin, "NDDRCNN has one for each task"),
    ("cross_stitch", "vpt_deep", {}, tiny_swin, "CrossStitch has one for each task"),
]


@pytest.mark.parametrize(("method", "tuning", "options", "backbone", "message"), REFUSED)
def test_refused(
    method: str, tuning: str, options: dict[str, Any], backbone: MakeBackbone, message: str
) -> None:
    with torch.device("meta"), pytest.raises(MtlbenchError, match=message):
        tuned(method, tuning, options, backbone)


def test_refused_before_a_grid_runs() -> None:
    cell = Cell(
        dataset=Choice(name="rooms"),
        tasks=TASKS,
        backbone=Choice(name="swin-t"),
        method=Choice(name="taskprompter"),
        balancer=Choice(name="equal"),
        tuning=Choice(name="ditask"),
    )
    with pytest.raises(MtlbenchError, match="TaskPrompter works inside its blocks"):
        check_parts([cell])
