"""MTFormer: conformance, numbers of parameters, the order of tasks in published checkpoints."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from golden_cases import parameters
from mtlbench.methods.mtformer import MTFormer

from mtlbench.backbones.build import build_backbone
from mtlbench.errors import MtlbenchError
from mtlbench.method_weights import published_to_ours
from mtlbench.tasks import Task
from mtlbench.testing import METHOD_CHECKS, TinyBackbone, tiny_tasks

SMALL: dict[str, Any] = {"dim": 8, "heads": 2, "window": 3}
PATCH_EMBEDDING = 16 * 256**2 + 3 * 256


def tasks_with(channels: dict[str, int]) -> dict[str, Task]:
    return {name: replace(tiny_tasks()["depth"], name=name, channels=k) for name, k in channels.items()}


@pytest.mark.parametrize("check", METHOD_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize(
    ("method", "options"),
    [
        pytest.param(MTFormer, SMALL, id="corrected"),
        pytest.param(MTFormer, SMALL | {"variant": "published"}, id="published"),
    ],
)
def test_conformance(method: Any, options: dict[str, Any], check: Any) -> None:
    check(method, **options)


@pytest.mark.parametrize(
    ("channels", "expected"),
    [
        ({"semseg": 40, "depth": 1}, 64.129),
        ({"semseg": 21, "human_parts": 7, "sal": 1}, 74.264),
    ],
    ids=["nyud", "pascal"],
)
def test_published_number_of_parameters(channels: dict[str, int], expected: float) -> None:
    """In millions, on Swin-S; the shared stage and each branch hold an unused patch embedding."""
    with torch.device("meta"):
        published = MTFormer(build_backbone("swin-s"), tasks_with(channels), variant="published")
        quirk = ("unused_patch_embeddings",)
        without = MTFormer(build_backbone("swin-s"), tasks_with(channels), variant="published", without=quirk)
    finest = parameters(published.backbone.get_submodule("norm0"))  # of the finest map, which is not read
    assert round((parameters(published) - finest) / 1e6, 3) == expected
    assert parameters(published) - parameters(without) == (1 + len(channels)) * PATCH_EMBEDDING


def test_released_networks_count_two_tasks_in_their_own_order() -> None:
    """Semantic segmentation first, whatever the order of ours."""
    tasks = {name: tiny_tasks()[name] for name in ("depth", "semseg")}
    network = MTFormer(TinyBackbone(), tasks, variant="published", **SMALL)
    keys = {"project2.5.weight": torch.zeros(()), "transformer7.norm0.weight": torch.zeros(())}
    expected = {"final_logits.depth.5.weight", "cross.depth.norm.weight"}
    assert set(published_to_ours(network, keys)) == expected


def test_values_are_the_tasks_own() -> None:
    """What the others' values would be has no part in a task's answer."""
    torch.manual_seed(0)
    network = MTFormer(TinyBackbone(), tiny_tasks(), **SMALL).eval()
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        before = network(images).final
        network.cross["depth"].blocks[0].to_v.weight.mul_(3.0)
        after = network(images).final
    assert [t for t in before if not torch.equal(before[t], after[t])] == ["depth"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dim": 10, "heads": 4}, "multiple of `heads`"),
        ({"window": 0}, "`window`"),
        ({"depth": 0}, "`depth`"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(MtlbenchError, match=message):
        MTFormer(TinyBackbone(), tiny_tasks(), **options)


def test_a_window_larger_than_the_map() -> None:
    network = MTFormer(TinyBackbone(), tiny_tasks(), dim=8, heads=2)
    assert network(torch.randn(2, 3, 24, 40)).final["semseg"].shape == (2, 5, 24, 40)
