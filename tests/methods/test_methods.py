"""Every built-in method passes the conformance suite."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from golden_cases import parameters
from mtlbench.methods.constant import Constant
from mtlbench.methods.degmix import DeGMix
from mtlbench.methods.multi_task import MultiTask
from mtlbench.methods.single_task import SingleTask

from mtlbench.backbones.build import build_backbone
from mtlbench.errors import MtlbenchError
from mtlbench.registry import registry
from mtlbench.testing import METHOD_CHECKS, TinyBackbone, tiny_tasks
from mtlbench.testing.methods import EVEN, check_batch_independence, check_gradients

SMALL: dict[str, Any] = {"dim": 16, "depth": 1}
METHODS = [
    pytest.param(Constant, {}, id="constant"),
    pytest.param(MultiTask, {}, id="multi_task"),
    pytest.param(MultiTask, {"head_channels": 5}, id="multi_task-head_channels"),
    pytest.param(SingleTask, {}, id="single_task"),
    pytest.param(DeGMix, SMALL, id="degmix"),
    pytest.param(DeGMix, {"dim": 12, "depth": 2, "heads": 3}, id="degmix-deep"),
    pytest.param(DeGMix, SMALL | {"variant": "published"}, id="degmix-published"),
    pytest.param(DeGMix, SMALL | {"variant": "table1"}, id="degmix-table1"),
]


@pytest.mark.parametrize("check", METHOD_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize(("method", "options"), METHODS)
def test_conformance(method: Any, options: dict[str, Any], check: Any) -> None:
    check(method, **options)


def test_every_built_in_method_is_in_the_suite() -> None:
    tested = {parameter.values[0] for parameter in METHODS}
    built_in = [p for p in registry.plugins("method") if str(p.target).startswith("mtlbench.methods.")]
    assert {plugin.load() for plugin in built_in} == tested


@pytest.mark.parametrize("backbone", ["hrnet18", "resnet18"])
@pytest.mark.parametrize("variant", ["corrected", "published", "table1"])
def test_degmix_trains_on_a_real_backbone(backbone: str, variant: Any) -> None:
    network = DeGMix(build_backbone(backbone), tiny_tasks(), variant=variant, **SMALL)
    outputs = network(torch.randn(2, 3, *EVEN))
    sum(value.square().mean() for value in outputs.final.values()).backward()
    assert all(p.grad is not None for n, p in network.named_parameters() if not n.startswith("linear1."))


def test_multi_task_has_the_published_number_of_parameters() -> None:
    channels = {"semseg": 40, "depth": 1, "normals": 3, "edge": 1}
    tasks = {name: replace(task, channels=channels[name]) for name, task in tiny_tasks().items()}
    assert parameters(MultiTask(build_backbone("hrnet18"), tasks)) == 4_515_556


@pytest.mark.parametrize(("variant", "expected"), [("table1", 33_198_779), ("published", 39_100_859)])
def test_degmix_has_the_published_number_of_parameters(variant: Any, expected: int) -> None:
    channels = {"semseg": 40, "depth": 1, "normals": 3, "edge": 1}
    tasks = {name: replace(task, channels=channels[name]) for name, task in tiny_tasks().items()}
    assert parameters(DeGMix(build_backbone("swin-t"), tasks, variant=variant)) == expected


def test_published_degmix_lets_samples_see_each_other_and_corrected_does_not() -> None:
    for variant in ("published", "table1"):
        method = type("Claims", (DeGMix,), {"mixes_samples": False})
        with pytest.raises(AssertionError, match="predictions differ"):
            check_batch_independence(method, variant=variant, **SMALL)
    assert not DeGMix(TinyBackbone(), tiny_tasks(), **SMALL).mixes_samples


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
        (DeGMix, {"dim": 0}, "`dim` of degmix must be a whole number >= 1, got 0"),
        (DeGMix, {"depth": 1.5}, r"`depth` of degmix must be a whole number >= 1, got 1\.5"),
        (DeGMix, {"heads": True}, "`heads` of degmix must be"),
        (
            DeGMix,
            {"dim": 16, "heads": 3},
            "`dim` of degmix must be a multiple of `heads`, got dim 16 and heads 3",
        ),
        (DeGMix, {"variant": "correct"}, "did you mean `corrected`"),
        (MultiTask, {"head_channels": 0}, "`head_channels` must be >= 1 or null, got 0"),
    ],
)
def test_wrong_options_are_named(method: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(MtlbenchError, match=message):
        method(TinyBackbone(), tiny_tasks(), **options)


def test_what_a_method_cannot_do() -> None:
    assert SingleTask.unsupported(["semseg"], "hrnet18") is None
    assert "one network per task, got 2" in str(SingleTask.unsupported(["semseg", "depth"], "hrnet18"))
    assert DeGMix.unsupported(["semseg", "depth"], "swin-t") is None
    assert "stride 16" in str(DeGMix.unsupported(["semseg"], "vit-b"))


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
        (DeGMix, "hrnet18", 9_824_626, {"variant": "published"}),
        (DeGMix, "swin-t", 40_276_352, {"variant": "published"}),
    ],
)
def test_number_of_parameters_on_pascal(
    method: Any, backbone: str, expected: int, options: dict[str, Any]
) -> None:
    channels = {"semseg": 21, "human_parts": 7, "sal": 2, "normals": 3, "edge": 1}
    tasks = {name: replace(tiny_tasks()["semseg"], name=name, channels=k) for name, k in channels.items()}
    assert parameters(method(build_backbone(backbone), tasks, **options)) == expected


@pytest.mark.parametrize("variant", ["corrected", "published", "table1"])
def test_degmix_in_bfloat16(variant: Any) -> None:
    network = DeGMix(TinyBackbone(), tiny_tasks(), variant=variant, **SMALL)
    with torch.autocast("cpu", torch.bfloat16):
        outputs = network(torch.randn(2, 3, *EVEN))
    sum(value.float().square().mean() for value in outputs.final.values()).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())
