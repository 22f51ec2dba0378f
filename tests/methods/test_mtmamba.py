"""MTMamba and MTMamba++: conformance, sizes, numbers of parameters and products, what steers what."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from golden_cases import parameters
from mtlbench.methods.layers.mamba_blocks import PatchExpand
from mtlbench.methods.layers.scan_2d import SS2D
from mtlbench.methods.mtmamba import MTMamba
from mtlbench.methods.mtmamba_plus import MTMambaPlus
from torch import Tensor

from mtlbench.backbones.base import Backbone
from mtlbench.errors import MtlbenchError
from mtlbench.method_weights import published_to_ours
from mtlbench.profiling import count_macs
from mtlbench.tasks import Task
from mtlbench.testing import METHOD_CHECKS, TinyBackbone, tiny_tasks

SMALL: dict[str, Any] = {"states": 2, "expansion": 1}
NYUD = {"semseg": 40, "depth": 1, "normals": 3, "edge": 1}
PASCAL = {"semseg": 21, "human_parts": 7, "sal": 2, "normals": 3, "edge": 1}
BOTH = [MTMamba, MTMambaPlus]


def tasks_with(channels: dict[str, int]) -> dict[str, Task]:
    return {name: replace(tiny_tasks()["depth"], name=name, channels=k) for name, k in channels.items()}


@pytest.mark.parametrize("check", METHOD_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize(
    ("method", "options"),
    [
        pytest.param(MTMamba, SMALL, id="mtmamba"),
        pytest.param(MTMambaPlus, SMALL | {"rank": 3, "head_channels": 5, "mlp_ratio": 2}, id="mtmamba_plus"),
    ],
)
def test_conformance(method: Any, options: dict[str, Any], check: Any) -> None:
    check(method, **options)


class MapsOfSwinL(Backbone):
    """Their widths and sizes, at no cost."""

    channels: list[int] = [192, 384, 768, 1536]  # noqa: RUF012

    def forward(self, images: Tensor) -> list[Tensor]:
        height, width = images.shape[-2:]
        sizes = zip(self.channels, self.strides, strict=True)
        return [images.new_zeros(1, c, height // s, width // s) for c, s in sizes]


@pytest.mark.parametrize(
    ("method", "channels", "expected"),
    [
        (MTMamba, NYUD, 112.80),
        (MTMambaPlus, NYUD, 119.82),
        (MTMamba, PASCAL, 140.66),
        (MTMambaPlus, PASCAL, 148.03),
    ],
)
def test_published_number_of_parameters(method: Any, channels: dict[str, int], expected: float) -> None:
    """Of the decoder on Swin-L, in millions."""
    with torch.device("meta"):
        network = method(MapsOfSwinL(), tasks_with(channels))
    assert round(parameters(network) / 1e6, 2) == expected


@pytest.mark.parametrize(("method", "published"), [(MTMamba, 540.81), (MTMambaPlus, 524.0)])
def test_published_number_of_products(method: Any, published: float) -> None:
    """In billions; the papers' numbers have the scans in them, and a Swin-L with windows of 12."""
    swin_l = 202.51
    with torch.device("meta"):
        network = method(MapsOfSwinL(), tasks_with(NYUD))
        assert count_macs(network, (448, 576)) / 1e9 + swin_l == pytest.approx(published, rel=0.01)


@pytest.mark.parametrize("method", BOTH)
def test_one_image_of_one_position(method: Any) -> None:
    """Batch norm gets one value per channel, scans one step."""
    network = method(TinyBackbone(), tiny_tasks(), **SMALL)
    outputs = network(torch.randn(1, 3, 4, 4))
    torch.stack([value.square().mean() for value in outputs.final.values()]).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize("method", BOTH)
def test_bfloat16(method: Any) -> None:
    torch.manual_seed(0)
    network = method(TinyBackbone(), tiny_tasks(), **SMALL)
    images = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        expected = network.eval()(images).final
    with torch.autocast("cpu", torch.bfloat16):
        outputs = network(images).final
    for task, value in outputs.items():
        difference = (value - expected[task]).square().mean().sqrt()
        assert difference < 0.05 * expected[task].square().mean().sqrt()
    torch.stack([value.float().square().mean() for value in outputs.values()]).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize("method", BOTH)
def test_every_position_hears_of_every_other(method: Any) -> None:
    """Two images that differ in one corner have other predictions in the opposite one."""
    torch.manual_seed(0)
    network = method(TinyBackbone(), tiny_tasks(), **SMALL).eval()
    features = [torch.randn(1, c, s, s) for c, s in zip((8, 16, 24, 32), (16, 8, 4, 2), strict=True)]
    changed = [features[0].clone(), *features[1:]]
    changed[0][:, :, 0, 0] += 1
    with torch.no_grad():
        before, after = (network.decode(x, (64, 64)).final["edge"] for x in (features, changed))
    assert (after - before)[..., -1, -1].abs() > 0


@pytest.mark.parametrize("method", BOTH)
def test_tasks_hear_of_each_other(method: Any) -> None:
    """A task's predictions depend on what only another task has computed before."""
    network = method(TinyBackbone(), tiny_tasks(), drop_path=0.0, **SMALL)
    network(torch.randn(1, 3, 32, 32)).final["depth"].square().mean().backward()
    last_of_other = network.stages[0].within["normals"][-1].ss2d.out.weight.grad
    assert last_of_other is not None
    assert last_of_other.any()


@pytest.mark.parametrize(
    ("method", "block"),
    [(MTMamba, "block_1.edge_2"), (MTMamba, "block_2.edge_2"), (MTMambaPlus, "block_stm.edge_2.1")],
)
def test_published_names_of_an_mlp(method: Any, block: str) -> None:
    network = method(TinyBackbone(), tiny_tasks(), mlp_ratio=3, **SMALL)
    width = TinyBackbone().channels[0]
    shapes = {"norm2.weight": (width,), "mlp.fc1.weight": (3 * width, width), "mlp.fc2.bias": (width,)}
    published = {f"{block}.{name}": torch.zeros(shape) for name, shape in shapes.items()}
    ours = network.state_dict()
    found = published_to_ours(network, published)
    assert len(found) == len(shapes)
    assert {name: x.shape for name, x in found.items()} == {name: ours[name].shape for name in found}


def test_expansion_keeps_places() -> None:
    """Each position becomes s x s positions: rows first, then columns, then channels."""
    layer = PatchExpand(1, 3, 2)
    with torch.no_grad():
        layer.expand.weight.copy_(torch.arange(12.0).view(12, 1))
    layer.norm = torch.nn.Identity()
    found = layer(torch.tensor([[[[1.0], [100.0]]]]))
    expected = torch.arange(12.0).view(2, 2, 3)
    assert torch.equal(found, torch.cat([expected, 100 * expected], dim=1).unsqueeze(0))


def test_another_map_steers_the_scan_but_is_not_scanned() -> None:
    """Where it is zero, so are the states: what remains is the input itself."""
    torch.manual_seed(0)
    layer = SS2D(4, 4, states=2, rank=None, expansion=1, gated=True, steered=True)
    x, steering = torch.randn(2, 1, 3, 5, 4)[:, :]
    scanned: list[Tensor] = []
    layer.scan.register_forward_hook(lambda module, given, found: scanned.extend([given[0], found]))
    layer(x, torch.zeros_like(steering))
    assert torch.allclose(scanned[1], 4 * scanned[0], atol=1e-6)
    layer(x, steering)
    assert torch.equal(scanned[2], scanned[0])
    assert not torch.allclose(scanned[3], scanned[1], atol=1e-6)


@pytest.mark.parametrize("method", BOTH)
def test_plain_vits_are_refused(method: Any) -> None:
    assert "several strides" in method.unsupported(["depth"], "vit-b")
    assert method.unsupported(["depth"], "swin-t") is None
    with pytest.raises(MtlbenchError, match="needs feature maps of several strides"):
        method(TinyBackbone(strides=(16,) * 4), tiny_tasks())


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        (MTMamba, {"states": 0}, "`states` of mtmamba must be a whole number >= 1, got 0"),
        (MTMamba, {"expansion": 1.5}, r"`expansion` of mtmamba must be a whole number >= 1, got 1\.5"),
        (MTMamba, {"rank": 0}, "`rank` of mtmamba must be"),
        (MTMamba, {"mlp_ratio": -1}, "`mlp_ratio` of mtmamba must be a whole number >= 0, got -1"),
        (MTMambaPlus, {"drop_path": 1.0}, r"`drop_path` of mtmamba_plus must be in \[0, 1\)"),
        (MTMambaPlus, {"head_channels": 0}, "`head_channels` of mtmamba_plus must be"),
    ],
)
def test_wrong_options_are_named(method: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(MtlbenchError, match=message):
        method(TinyBackbone(), tiny_tasks(), **options)
