"""Cross-stitch networks and NDDR-CNN: conformance, their units, kinds of backbones, numbers of parameters."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from golden_cases import parameters
from mtlbench.methods.cross_stitch import CrossStitch
from mtlbench.methods.joined_networks import JoinedNetworks
from mtlbench.methods.multi_task import MultiTask
from mtlbench.methods.nddr_cnn import NDDRCNN

from mtlbench.backbones.base import Backbone
from mtlbench.backbones.build import build_backbone
from mtlbench.backbones.staged import side_by_side
from mtlbench.errors import MtlbenchError
from mtlbench.profiling import count_module_macs
from mtlbench.tasks import Task
from mtlbench.testing import METHOD_CHECKS, TinyBackbone, tiny_tasks

NYUD = {"semseg": 40, "depth": 1, "normals": 3, "edge": 1}
PASCAL = {"semseg": 21, "human_parts": 7, "sal": 1, "normals": 3, "edge": 1}
BOTH = (CrossStitch, NDDRCNN)
IMAGES = (2, 3, 64, 96)


def tasks_with(channels: dict[str, int]) -> dict[str, Task]:
    return {name: replace(tiny_tasks()["depth"], name=name, channels=k) for name, k in channels.items()}


def two_tasks() -> dict[str, Task]:
    return {name: tiny_tasks()[name] for name in ("semseg", "depth")}


@pytest.mark.parametrize("check", METHOD_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize(
    ("method", "variant"),
    [
        *((CrossStitch, variant) for variant in ("corrected", "published", "table1")),
        *((NDDRCNN, variant) for variant in ("published", "table1")),  # as `corrected`
    ],
)
def test_conformance(method: Any, variant: str, check: Any) -> None:
    check(method, variant=variant)


@pytest.mark.parametrize(
    ("method", "backbone", "channels", "options", "expected"),
    [
        (CrossStitch, "resnet50-dilated", {"semseg": 40, "depth": 1}, {"head": "deeplab"}, 79_292_841),
        (CrossStitch, "resnet18-dilated", PASCAL, {"head": "deeplab"}, 79_525_921),
        (NDDRCNN, "resnet50-dilated", {"semseg": 40, "depth": 1}, {"head": "deeplab"}, 101_591_721),
        (NDDRCNN, "resnet18-dilated", PASCAL, {"head": "deeplab"}, 88_318_561),
        (NDDRCNN, "hrnet18", NYUD, {"variant": "table1"}, 4_587_916),
        (CrossStitch, "hrnet18", NYUD, {"variant": "table1"}, 4_515_556 + 16 * 67),
    ],
)
def test_number_of_parameters(
    method: Any, backbone: str, channels: dict[str, int], options: dict[str, Any], expected: int
) -> None:
    with torch.device("meta"):
        network = method(
            build_backbone(backbone), tasks_with(channels), **({"variant": "published"} | options)
        )
    assert parameters(network) == expected


@pytest.mark.parametrize(("method", "expected"), [(CrossStitch, 17.59), (NDDRCNN, 18.68)])
def test_table1_costs_what_the_table_says(method: Any, expected: float) -> None:
    with torch.device("meta"):
        network = method(build_backbone("hrnet18"), tasks_with(NYUD), variant="table1")
        assert count_module_macs(network, (425, 560)) / 1e9 == pytest.approx(expected, rel=5e-4)


@pytest.mark.parametrize("name", ["resnet18", "resnet18-dilated", "hrnet18", "swin-t"])
def test_stages_together_are_the_backbone(name: str) -> None:
    backbone = build_backbone(name).eval()
    images, widths = torch.randn(1, 3, 65, 97), []

    def double(pause: int, maps: dict[str, list[torch.Tensor]]) -> dict[str, list[torch.Tensor]]:
        widths.append([x.shape[1] for x in maps["a"]])
        return {"a": maps["a"], "b": [2 * x for x in maps["b"]]}

    with torch.no_grad():
        expected = backbone(images)
        found = side_by_side({"a": backbone.staged(images), "b": backbone.staged(images)}, double)
    assert widths == backbone.stage_channels
    for a, b, x in zip(found["a"], found["b"], expected, strict=True):
        assert torch.equal(a, x)
        assert not torch.allclose(b, x)


@pytest.mark.parametrize("method", BOTH)
def test_networks_of_several_branches(method: type[JoinedNetworks]) -> None:
    torch.manual_seed(0)
    network = method(build_backbone("hrnet18"), two_tasks())
    outputs = network(torch.randn(IMAGES))
    assert {t: tuple(x.shape) for t, x in outputs.final.items()} == {
        "semseg": (2, 5, 64, 96),
        "depth": (2, 1, 64, 96),
    }
    outputs.final["depth"].square().mean().backward()
    reached = {n: p.grad is not None for n, p in network.backbone.copies["semseg"].named_parameters()}
    assert all(reached.values())


def test_a_swin_exchanges_what_its_stages_find() -> None:
    with torch.device("meta"):
        network = CrossStitch(build_backbone("swin-t"), two_tasks(), variant="published")
        assert network(torch.randn(IMAGES)).final["depth"].shape == (2, 1, 64, 96)
    assert {
        n: p.shape[0] for n, p in network.cross_stitch.named_parameters() if n.endswith("semseg.depth")
    } == {f"stage{i}.0.semseg.depth": width for i, width in enumerate((96, 192, 384, 768), start=1)}


def test_a_vit_exchanges_its_tokens() -> None:
    with torch.device("meta"):
        network = NDDRCNN(build_backbone("vit-b"), two_tasks())
        assert network(torch.randn(IMAGES)).final["depth"].shape == (2, 1, 64, 96)
    assert {n: p.shape[:2] for n, p in network.named_parameters() if n.endswith("semseg.0.weight")} == {
        f"nddr.{place}.0.semseg.0.weight": (768, 1536)
        for place in ("stem", "stage1", "stage2", "stage3", "stage4")
    }


def test_nothing_is_exchanged_where_each_task_keeps_its_own() -> None:
    """Then the networks are those of each task alone."""
    torch.manual_seed(0)
    network = CrossStitch(TinyBackbone(), two_tasks(), alpha=1.0, beta=0.0).eval()
    images = torch.randn(IMAGES)
    found = network(images).final
    for task, copy in network.backbone.copies.items():
        alone = MultiTask(copy, two_tasks())
        own = network.state_dict()
        state = {n: v for n, v in own.items() if n.startswith(("bottleneck.", "final_logits."))}
        alone.load_state_dict(state, strict=False)
        torch.testing.assert_close(found[task], alone.eval()(images).final[task])


@pytest.mark.parametrize(
    ("options", "expected"), [({}, (0.9, 0.1 / 3)), ({"alpha": 0.7, "beta": 0.2}, (0.7, 0.2))]
)
def test_shares_that_a_task_starts_with(options: dict[str, float], expected: tuple[float, float]) -> None:
    maps = {name: torch.rand(1, 2, 3, 4) for name in tiny_tasks()}
    own, other = expected
    mixed = {i: own * x + other * sum(y for j, y in maps.items() if j != i) for i, x in maps.items()}
    for variant in ("corrected", "published"):
        stitch = CrossStitch(TinyBackbone(), tiny_tasks(), variant=variant, **options).unit(2)
        found = stitch(maps)
        for name, x in mixed.items():
            torch.testing.assert_close(found[name], x)
    fuse = NDDRCNN(TinyBackbone(), tiny_tasks(), **options).unit(2).eval()
    found = fuse(maps)
    for name, x in mixed.items():  # batch norm starts with mean 0 and variance 1
        torch.testing.assert_close(found[name], x / (1 + 1e-5) ** 0.5)


@pytest.mark.parametrize("method", BOTH)
def test_a_task_alone_exchanges_nothing(method: type[JoinedNetworks]) -> None:
    unit = method(TinyBackbone(), {"depth": tiny_tasks()["depth"]}).unit(3).eval()
    x = torch.rand(1, 3, 4, 5)
    torch.testing.assert_close(unit({"depth": x})["depth"], x, rtol=1e-5, atol=1e-5)


def test_what_it_starts_from() -> None:
    assert CrossStitch.joins({}) == ("single_task", {})
    deeplab = {"head": "deeplab", "alpha": 0.8, "variant": "published"}
    assert NDDRCNN.joins(deeplab) == ("single_task", {"head": "deeplab"})
    assert NDDRCNN.joins({"start": "none"}) is None
    assert CrossStitch.joins({"variant": "table1"}) is None


class Whole(TinyBackbone):
    """Can't be run stage by stage."""

    stage_channels = None


@pytest.mark.parametrize(
    ("backbone", "options", "message"),
    [
        (build_backbone("efficientnet-lite0"), {}, "needs a backbone whose stages can be run one by one"),
        (Whole(), {}, "needs a backbone whose stages can be run one by one .* which Whole can't"),
        (TinyBackbone(), {"variant": "table1", "head": "hrnet"}, "goes with `head: fcn`, got `head: hrnet`"),
        (TinyBackbone(), {"alpha": float("nan")}, "`alpha` of .* must be a finite number, got nan"),
    ],
)
@pytest.mark.parametrize("method", BOTH)
def test_wrong_choices_are_named(
    method: Any, backbone: Backbone, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(MtlbenchError, match=message):
        method(backbone, tiny_tasks(), **options)


@pytest.mark.parametrize("method", BOTH)
def test_heads_alone_exchange_features_with_any_backbone(method: Any) -> None:
    network = method(Whole(), tiny_tasks(), variant="table1")
    assert list(network(torch.randn(IMAGES)).final) == list(tiny_tasks())
