"""InvPT: conformance, sizes, numbers of parameters, what its unused layers change (nothing)."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from golden_cases import parameters
from mtlbench.methods.invpt import InvPT
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from mtlbench.backbones.build import build_backbone
from mtlbench.backbones.vit_timm import TimmViT
from mtlbench.errors import MtlbenchError
from mtlbench.method_weights import load_method_weights
from mtlbench.tasks import Task
from mtlbench.testing import METHOD_CHECKS, TinyBackbone, tiny_tasks
from mtlbench.variants import quirks

SMALL: dict[str, Any] = {"embed_dim": 12, "extra_channels": 4}
NYUD = {"semseg": 40, "depth": 1, "normals": 3, "edge": 1}
PASCAL = {"semseg": 21, "human_parts": 7, "sal": 2, "normals": 3, "edge": 1}
Plain = partial(TinyBackbone, (8, 8, 8, 8), strides=(16,) * 4)


def tasks_with(channels: dict[str, int]) -> dict[str, Task]:
    return {name: replace(tiny_tasks()["depth"], name=name, channels=k) for name, k in channels.items()}


def on_plain(backbone: Any, tasks: Any, **options: Any) -> InvPT:
    """The published decoder, whatever backbone a check offers."""
    return InvPT(Plain(), tasks, **options)


def gradients_are_finite(network: InvPT) -> bool:
    """Of all parameters that get one."""
    named, dead = network.named_parameters(), network.dead_parameters
    return all(p.grad is not None and p.grad.isfinite().all() for n, p in named if not n.startswith(dead))


@pytest.mark.parametrize("check", METHOD_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize(
    ("method", "options"),
    [
        pytest.param(InvPT, SMALL, id="pyramid"),
        pytest.param(on_plain, SMALL | {"variant": "published"}, id="published"),
        pytest.param(on_plain, SMALL | {"heads": 4, "mlp_ratio": 1, "downsample": 1}, id="options"),
    ],
)
def test_conformance(method: Any, options: dict[str, Any], check: Any) -> None:
    check(method, **options)


@pytest.mark.parametrize(
    ("backbone", "channels", "positions", "expected"),
    [
        ("vit-b-384", NYUD, 28 * 36, 160.824),
        ("vit-l-384", NYUD, 28 * 36, 402.093),
        ("vit-l-384", PASCAL, 32 * 32, 422.930),
        ("vit-b-384", PASCAL, 32 * 32, 176.348),
    ],
)
def test_published_number_of_parameters(
    backbone: str, channels: dict[str, int], positions: int, expected: float
) -> None:
    """In millions, with the position embedding that published checkpoints hold."""
    with torch.device("meta"):
        network = InvPT(build_backbone(backbone), tasks_with(channels), variant="published")
        width = network.backbone.channels[0]
        network.backbone.adapt({"pos_embed": torch.empty(1, 1 + positions, width)})
    assert round(parameters(network) / 1e6, 3) == expected


def test_number_of_parameters_of_our_reading_for_pyramids() -> None:
    """The papers have 60.14 and 292.7 million."""
    found = []
    for backbone, embed_dim in (("swin-t", 384), ("swin-l", 512)):
        with torch.device("meta"):
            network = InvPT(
                build_backbone(backbone), tasks_with(NYUD), variant="published", embed_dim=embed_dim
            )
        found.append(round(parameters(network) / 1e6, 2))
    assert found == [66.9, 275.24]


@pytest.mark.parametrize("backbone", [TinyBackbone, Plain])
def test_unused_parameters_are_listed(backbone: Any) -> None:
    """Those of the quirks, and of feature maps that nothing reads."""
    published = InvPT(backbone(), tiny_tasks(), variant="published", **SMALL)
    sum(value.sum() for value in published(torch.randn(1, 3, 64, 64)).final.values()).backward()
    dead = {name for name, p in published.named_parameters() if p.grad is None}
    listed = published.dead_parameters
    assert dead == {name for name, _ in published.named_parameters() if name.startswith(listed)}


def test_quirks_change_no_prediction() -> None:
    torch.manual_seed(0)
    published = InvPT(Plain(), tiny_tasks(), variant="published", **SMALL).eval()
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        outputs = published(images).final
        for quirk in quirks(InvPT):
            without = InvPT(Plain(), tiny_tasks(), variant="published", without=(quirk,), **SMALL).eval()
            assert parameters(without) < parameters(published)
            kept = without.state_dict().keys()
            without.load_state_dict({k: v for k, v in published.state_dict().items() if k in kept})
            found = without(images).final
            assert all(torch.equal(found[task], outputs[task]) for task in outputs), quirk


@pytest.mark.parametrize("side", [16, 64])
def test_one_small_image_trains(side: int) -> None:
    """Batch norm gets one value per channel at the coarsest scale."""
    network = InvPT(Plain(), tiny_tasks(), **SMALL)
    outputs = network(torch.randn(1, 3, side, side))
    sum(value.square().mean() for value in outputs.final.values()).backward()
    assert gradients_are_finite(network)


@pytest.mark.parametrize("strides", [(4, 8, 16, 32), (4, 8, 8, 8), (16, 16, 16, 16)])
@pytest.mark.parametrize(
    ("image", "coarse", "fine"), [((128, 192), (4, 6), (32, 48)), ((97, 64), (4, 2), (32, 16))]
)
def test_scales(
    strides: tuple[int, ...], image: tuple[int, int], coarse: tuple[int, int], fine: tuple[int, int]
) -> None:
    """Preliminary predictions at 1/32, features before the last layer at 1/4, for every kind of backbone."""
    backbone = TinyBackbone(strides=strides)
    network = InvPT(backbone, tiny_tasks(), **SMALL)
    z, preliminary = network.task_features(backbone(torch.randn(2, 3, *image)))
    assert {tuple(x.shape[-2:]) for x in preliminary.values()} == {coarse}
    assert {tuple(x.shape) for x in z.values()} == {(2, 16, *fine)}


def vit(size: tuple[int, int]) -> TimmViT:
    trunk = VisionTransformer(img_size=size, embed_dim=16, depth=4, num_heads=2, num_classes=0)
    return TimmViT(trunk, (0, 1, 2, 3))


def test_a_checkpoint_with_positions_of_another_size(tmp_path: Path) -> None:
    source, target = (InvPT(vit(size), tiny_tasks(), **SMALL) for size in ((64, 128), (64, 64)))
    torch.save({"model": source.state_dict()}, tmp_path / "source.pth")
    load_method_weights(target, str(tmp_path / "source.pth"))
    images: Tensor = torch.randn(1, 3, 64, 128)
    with torch.no_grad():
        expected, found = source.eval()(images).final, target.eval()(images).final
    assert all(torch.equal(found[task], expected[task]) for task in expected)


def test_bfloat16() -> None:
    network = InvPT(Plain(), tiny_tasks(), **SMALL)
    with torch.autocast("cpu", torch.bfloat16):
        outputs = network(torch.randn(2, 3, 64, 96))
    sum(value.float().square().mean() for value in outputs.final.values()).backward()
    assert gradients_are_finite(network)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"embed_dim": 0}, "`embed_dim` of invpt must be a whole number >= 1, got 0"),
        ({"extra_channels": -4}, "`extra_channels` of invpt must be a whole number >= 0, got -4"),
        ({"mlp_ratio": 1.5}, r"`mlp_ratio` of invpt must be a whole number >= 1, got 1\.5"),
        ({"heads": True}, "`heads` of invpt must be"),
        ({"downsample": 0}, "`downsample` of invpt must be a whole number >= 1, got 0"),
        ({"heads": 3}, r"must be a multiple of 4 times `heads`, 12, got 12 \+ 4"),
        ({"variant": "publish"}, "did you mean `published`"),
        ({"without": ("unused_norm",)}, "`corrected` of InvPT has none"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(MtlbenchError, match=message):
        InvPT(TinyBackbone(), tiny_tasks(), **(SMALL | options))
