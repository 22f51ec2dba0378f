"""The conformance suite, and the simplest methods in it."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from golden_cases import parameters
from mtlbench.methods.constant import Constant
from mtlbench.methods.multi_task import MultiTask
from mtlbench.methods.single_task import SingleTask

from mtlbench.backbones.build import build_backbone
from mtlbench.errors import MtlbenchError
from mtlbench.registry import registry
from mtlbench.testing import METHOD_CHECKS, TinyBackbone, tiny_tasks
from mtlbench.testing.methods import check_gradients

SMALL: dict[str, Any] = {"dim": 16, "depth": 1}
METHODS = [
    pytest.param(Constant, {}, id="constant"),
    pytest.param(MultiTask, {}, id="multi_task"),
    pytest.param(MultiTask, {"head_channels": 5}, id="multi_task-head_channels"),
    pytest.param(SingleTask, {}, id="single_task"),
]


@pytest.mark.parametrize("check", METHOD_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize(("method", "options"), METHODS)
def test_conformance(method: Any, options: dict[str, Any], check: Any) -> None:
    check(method, **options)


def test_every_built_in_method_is_in_a_suite() -> None:
    texts = [file.read_text(encoding="utf-8") for file in Path(__file__).parent.glob("test_*.py")]
    suites = "".join(t for t in texts if 'parametrize("check"' in t and "METHOD_CHECKS" in t)
    built_in = [p for p in registry.plugins("method") if str(p.target).startswith("mtlbench.methods.")]
    assert built_in
    assert [p.name for p in built_in if not re.search(rf"import .*\b{p.load().__name__}\b", suites)] == []


def test_multi_task_has_the_published_number_of_parameters() -> None:
    channels = {"semseg": 40, "depth": 1, "normals": 3, "edge": 1}
    tasks = {name: replace(task, channels=channels[name]) for name, task in tiny_tasks().items()}
    assert parameters(MultiTask(build_backbone("hrnet18"), tasks)) == 4_515_556


def test_the_suite_notices_a_dead_parameter() -> None:
    class Dead(MultiTask):
        def __init__(self, backbone: Any, tasks: Any) -> None:
            super().__init__(backbone, tasks)
            self.unused = torch.nn.Linear(2, 2)

    with pytest.raises(AssertionError, match=r"unused\.weight: gradient missing"):
        check_gradients(Dead)


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        (MultiTask, {"head_channels": 0}, "`head_channels` must be >= 1 or null, got 0"),
    ],
)
def test_wrong_options_are_named(method: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(MtlbenchError, match=message):
        method(TinyBackbone(), tiny_tasks(), **options)


def test_what_a_method_cannot_do() -> None:
    assert SingleTask.unsupported(["semseg"], "hrnet18") is None
    assert "one network per task, got 2" in str(SingleTask.unsupported(["semseg", "depth"], "hrnet18"))


def test_constant_predicts_what_the_tasks_say() -> None:
    tasks = tiny_tasks()
    generator = torch.Generator().manual_seed(0)
    labels = [
        {
            "semseg": torch.randint(0, 5, (2, height, 6), generator=generator),
            "depth": torch.rand(2, 1, height, 6, generator=generator) + 1,
        }
        for height in (4, 7)
    ]
    network = Constant(None, tasks)
    network.fit_constants(
        [labels[0], labels[1] | {"normals": torch.eye(3)[:1, :, None, None].expand(2, 3, 7, 6)}]
    )
    final = network(torch.zeros(2, 3, 8, 9)).final
    depths = torch.cat([batch["depth"].flatten() for batch in labels])
    assert torch.allclose(
        final["depth"], tasks["depth"].constant(depths.view(1, 1, 1, -1)).view(1, 1, 1, 1).expand(2, 1, 8, 9)
    )
    assert final["normals"][:, :, 3, 4].argmax(dim=1).tolist() == [0, 0]
    assert final["edge"].abs().max() == 0  # no labels, no guess
    assert list(network.parameters()) == []


@pytest.mark.parametrize(
    ("method", "backbone", "expected", "options"),
    [
        (MultiTask, "hrnet18", 4_677_752, {}),
        (MultiTask, "swin-t", 50_864_572, {}),
    ],
)
def test_number_of_parameters_on_pascal(
    method: Any, backbone: str, expected: int, options: dict[str, Any]
) -> None:
    channels = {"semseg": 21, "human_parts": 7, "sal": 2, "normals": 3, "edge": 1}
    tasks = {name: replace(tiny_tasks()["semseg"], name=name, channels=k) for name, k in channels.items()}
    assert parameters(method(build_backbone(backbone), tasks, **options)) == expected
