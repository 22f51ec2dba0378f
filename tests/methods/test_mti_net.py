"""MTI-Net: conformance, its mask, auxiliary tasks, order of tasks, other strides, numbers of parameters."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from golden_cases import parameters
from mtlbench.methods.layers.propagation import FeaturePropagation, SqueezeExcite
from mtlbench.methods.mti_net import MTINet, published_order

from mtlbench.backbones.build import build_backbone
from mtlbench.errors import MtlbenchError
from mtlbench.tasks import Task
from mtlbench.testing import METHOD_CHECKS, TinyBackbone, tiny_tasks

NYUD = {"semseg": 40, "depth": 1, "normals": 3, "edge": 1}
PASCAL = {"semseg": 21, "human_parts": 7, "sal": 1, "normals": 3, "edge": 1}
IMAGE = (1, 3, 64, 96)


def tasks_with(channels: dict[str, int]) -> dict[str, Task]:
    return {name: replace(tiny_tasks()["depth"], name=name, channels=k) for name, k in channels.items()}


def not_silent(backbone: Any, tasks: Any, **options: Any) -> MTINet:
    """At small widths squeeze and excitation has one hidden unit: silent, it hides what depends on what."""
    network = MTINet(backbone, tasks, **options)
    for module in network.modules():
        if isinstance(module, SqueezeExcite):
            torch.nn.init.ones_(module.squeeze[0].bias)
    return network


@pytest.mark.parametrize("check", METHOD_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("variant", ["corrected", "published"])
def test_conformance(variant: str, check: Any) -> None:
    check(not_silent, variant=variant)


@pytest.mark.parametrize(
    ("channels", "auxiliary", "expected"),
    [
        ({"semseg": 40, "depth": 1}, (), 8_578_179),
        (NYUD, ("normals", "edge"), 14_838_121),
        (NYUD, (), 17_960_945),
        (PASCAL, (), 24_494_171),
    ],
)
def test_number_of_parameters(channels: dict[str, int], auxiliary: tuple[str, ...], expected: int) -> None:
    with torch.device("meta"):
        network = MTINet(
            build_backbone("hrnet18"), tasks_with(channels), variant="published", auxiliary=auxiliary
        )
    assert parameters(network) == expected


def test_auxiliary_tasks_are_predicted_at_every_scale_only() -> None:
    network = MTINet(TinyBackbone(), tiny_tasks(), auxiliary=("normals", "edge")).eval()
    outputs = network(torch.randn(IMAGE))
    assert list(outputs.final) == ["semseg", "depth"]
    assert list(outputs.auxiliary) == [f"deep_supervision.scale_{s}" for s in range(4)]
    for s, predictions in enumerate(outputs.auxiliary.values()):
        assert {t: tuple(x.shape) for t, x in predictions.items()} == {
            t: (1, task.channels, 16 >> s, 24 >> s) for t, task in tiny_tasks().items()
        }
    sum(x.sum() for x in outputs.final.values()).backward()
    found = {n for n, p in network.named_parameters() if p.grad is not None}
    assert {n for n, _ in network.named_parameters() if ".refine.edge." in n} <= found
    assert not any(".logits." in n for n in found)


def test_one_task_is_helped_by_one_other() -> None:
    two = {t: tiny_tasks()[t] for t in ("depth", "edge")}
    network = MTINet(TinyBackbone(), two, auxiliary=("edge",))
    assert list(network(torch.randn(2, *IMAGE[1:])).final) == ["depth"]
    assert list(network.distillation[0]) == ["depth"]


def test_the_order_of_the_tasks_does_not_matter() -> None:
    assert published_order(["depth", "extra", "edge", "sal", "semseg"]) == [
        "semseg",
        "sal",
        "edge",
        "depth",
        "extra",
    ]
    tasks = tiny_tasks()
    one = MTINet(TinyBackbone(), tasks, variant="published").eval()
    other = MTINet(TinyBackbone(), {t: tasks[t] for t in reversed(tasks)}, variant="published").eval()
    other.load_state_dict(one.state_dict())
    image = torch.randn(IMAGE)
    expected, found = one(image).final, other(image).final
    assert list(found) == list(reversed(tasks))
    assert all(torch.allclose(found[t], expected[t], atol=1e-6) for t in tasks)


@pytest.mark.parametrize("neighbours", [False, True])
def test_the_mask_weighs_tasks_or_neighbouring_channels(neighbours: bool) -> None:
    torch.manual_seed(0)
    layer = FeaturePropagation(("a", "b", "c"), 4, mask_of_neighbours=neighbours).eval()
    seen: list[torch.Tensor] = []
    layer.reduce.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    layer({name: torch.ones(1, 4, 2, 2) for name in "abc"})
    (weights,) = seen  # of ones
    of_tasks, of_neighbours = weights.view(3, 4, 2, 2).sum(0), weights.view(4, 3, 2, 2).sum(1)
    assert torch.allclose(of_neighbours if neighbours else of_tasks, torch.ones(4, 2, 2))
    assert not torch.allclose(of_tasks if neighbours else of_neighbours, torch.ones(4, 2, 2))


def test_the_quirk_decides_the_mask_of_every_propagation() -> None:
    corrected = MTINet(TinyBackbone(), tiny_tasks()).eval()
    image = torch.randn(IMAGE)
    expected = corrected(image).final["depth"]
    for without, same in (((), False), (("mask_of_neighbours",), True)):
        network = MTINet(TinyBackbone(), tiny_tasks(), variant="published", without=without).eval()
        network.load_state_dict(corrected.state_dict())
        assert torch.equal(network(image).final["depth"], expected) == same


def test_one_image_whose_coarsest_map_is_one_pixel() -> None:
    outputs = MTINet(TinyBackbone(), tiny_tasks())(torch.randn(1, 3, 30, 21))
    assert all(x.isfinite().all() for x in outputs.final.values())


def test_auxiliary_tasks_must_be_among_the_tasks() -> None:
    with pytest.raises(MtlbenchError, match="`auxiliary` of mti_net must name some of the tasks"):
        MTINet(TinyBackbone(), tiny_tasks(), auxiliary=("depths",))
