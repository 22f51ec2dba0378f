"""PAD-Net: conformance, its variants, auxiliary tasks, numbers of parameters."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from golden_cases import parameters
from mtlbench.methods.layers.distillation import SourceGated, TargetGated
from mtlbench.methods.pad_net import PadNet

from mtlbench.backbones.build import build_backbone
from mtlbench.errors import MtlbenchError
from mtlbench.profiling import count_module_macs
from mtlbench.tasks import Task
from mtlbench.testing import METHOD_CHECKS, TinyBackbone, tiny_tasks

SMALL = {"channels": 8}
NYUD = {"semseg": 40, "depth": 1, "normals": 3, "edge": 1}
PASCAL = {"semseg": 21, "human_parts": 7, "sal": 1, "normals": 3, "edge": 1}
VARIANTS = ("corrected", "published", "table1")
IMAGE = (1, 3, 32, 48)


def tasks_with(channels: dict[str, int]) -> dict[str, Task]:
    return {name: replace(tiny_tasks()["depth"], name=name, channels=k) for name, k in channels.items()}


@pytest.mark.parametrize("check", METHOD_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("variant", VARIANTS)
def test_conformance(variant: str, check: Any) -> None:
    check(PadNet, variant=variant, **SMALL)


@pytest.mark.parametrize(
    ("channels", "options", "expected"),
    [
        ({"semseg": 40, "depth": 1}, {"variant": "published"}, 7_019_056),
        (NYUD, {"variant": "published"}, 19_521_848),
        (NYUD, {"variant": "published", "auxiliary": ("normals", "edge")}, 12_161_332),
        (PASCAL, {"variant": "published"}, 29_304_992),
        (NYUD, {"variant": "table1"}, 5_022_992),
        # a gate for each task instead of one for each pair
        (NYUD, {}, 19_521_848 - 8 * 9 * 256**2),
    ],
)
def test_number_of_parameters(channels: dict[str, int], options: dict[str, Any], expected: int) -> None:
    with torch.device("meta"):
        network = PadNet(build_backbone("hrnet18"), tasks_with(channels), **options)
    assert parameters(network) == expected


def test_table1_costs_what_the_table_says() -> None:
    with torch.device("meta"):
        network = PadNet(build_backbone("hrnet18"), tasks_with(NYUD), variant="table1")
        assert count_module_macs(network, (425, 560)) / 1e9 == pytest.approx(25.18, rel=1e-3)


@pytest.mark.parametrize("variant", VARIANTS)
def test_auxiliary_tasks_have_initial_predictions_and_send_messages(variant: Any) -> None:
    network = PadNet(
        TinyBackbone(), tiny_tasks(), variant=variant, auxiliary=("normals", "edge"), **SMALL
    ).eval()
    outputs = network(torch.randn(IMAGE))
    assert list(outputs.final) == ["semseg", "depth"]
    assert {t: tuple(x.shape) for t, x in outputs.auxiliary["initial"].items()} == {
        "semseg": (1, 5, 8, 12),
        "depth": (1, 1, 8, 12),
        "normals": (1, 3, 8, 12),
        "edge": (1, 1, 8, 12),
    }
    sum(x.sum() for x in outputs.final.values()).backward()
    assert all(p.grad is not None for n, p in network.named_parameters() if n.startswith("initial.edge."))
    assert all(p.grad is None for n, p in network.named_parameters() if n.startswith("initial_logits."))


def test_one_task_is_helped_by_one_other() -> None:
    two = {t: tiny_tasks()[t] for t in ("depth", "edge")}
    network = PadNet(TinyBackbone(), two, auxiliary=("edge",), **SMALL)
    assert list(network(torch.randn(2, *IMAGE[1:])).final) == ["depth"]
    assert [n for n, _ in network.distillation.named_parameters()] == [
        "depth.messages.edge.0.weight",
        "depth.gate.weight",
    ]


def test_messages_are_gated_by_the_source_as_released() -> None:
    torch.manual_seed(0)
    distil = SourceGated("a", "abc", 4)
    f = {name: torch.randn(2, 4, 5, 7) for name in "abc"}
    expected = f["a"] + sum(
        distil.messages[s].message(f[s]) * distil.messages[s].gate(f[s]).sigmoid() for s in "bc"
    )
    torch.testing.assert_close(distil(f), expected)


@pytest.mark.parametrize(("kernel", "norm"), [(3, False), (1, True)])
def test_messages_are_gated_by_the_target_in_the_paper(kernel: int, norm: bool) -> None:
    torch.manual_seed(0)
    distil = TargetGated("a", "abc", 4, gate_kernel=kernel, norm=norm)
    f = {name: torch.randn(2, 4, 5, 7) for name in "abc"}
    messages = [distil.messages[s][0](f[s]) for s in "bc"]
    if norm:
        messages = [torch.nn.functional.batch_norm(m, None, None, training=True) for m in messages]
    expected = f["a"] + distil.gate(f["a"]).sigmoid() * sum(messages)
    torch.testing.assert_close(distil(f), expected)


def test_the_published_variant_without_its_quirk_is_the_corrected_one() -> None:
    published = PadNet(
        TinyBackbone(), tiny_tasks(), variant="published", without=("gate_from_source",), **SMALL
    )
    corrected = PadNet(TinyBackbone(), tiny_tasks(), **SMALL)
    published.load_state_dict(corrected.state_dict())
    image = torch.randn(IMAGE)
    for task, expected in corrected.eval()(image).final.items():
        assert torch.equal(published.eval()(image).final[task], expected)


@pytest.mark.parametrize("size", [(3, 16, 16), (3, 4, 4)])
@pytest.mark.parametrize("variant", ["corrected", "published"])
def test_one_small_image_in_training(variant: Any, size: tuple[int, ...]) -> None:
    outputs = PadNet(TinyBackbone(), tiny_tasks(), variant=variant, **SMALL)(torch.randn(1, *size))
    assert all(x.isfinite().all() for x in outputs.final.values())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"auxiliary": ("sal",)}, "`auxiliary` of pad_net must name some of the tasks"),
        ({"auxiliary": tuple(tiny_tasks())}, "leave one or more to predict"),
        ({"channels": 6}, "`channels` of pad_net must be a multiple of 4, at least 4, got 6"),
        ({"variant": "table1", "channels": 0}, "at least 1, got 0"),
        ({"variant": "table1", "without": ("gate_from_source",)}, "`table1` of PadNet has none"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(MtlbenchError, match=message):
        PadNet(TinyBackbone(), tiny_tasks(), **options)
