"""DeMT: conformance, numbers of parameters, what its quirks do, and the layers that it brought."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from golden_cases import parameters
from mtlbench.methods.demt import DeMT
from mtlbench.methods.layers.features import concat_features
from mtlbench.methods.layers.position_attention import TOGETHER, TaskInteraction, TaskQueryAtPosition
from mtlbench.methods.layers.pyramid import PyramidEmbed, PyramidLinears
from torch import Tensor

from mtlbench.backbones.build import build_backbone
from mtlbench.errors import MtlbenchError
from mtlbench.profiling import count_module_macs
from mtlbench.tasks import Task
from mtlbench.testing import METHOD_CHECKS, TinyBackbone, tiny_tasks
from mtlbench.testing.methods import EVEN
from mtlbench.variants import quirks

SMALL: dict[str, Any] = {"dim": 8, "heads": 2}
NYUD = {"semseg": 40, "depth": 1, "normals": 3, "edge": 1}
PASCAL = {"semseg": 21, "human_parts": 7, "sal": 2, "normals": 3, "edge": 1}
POSITIONS = (1, TOGETHER + 3, 2 * TOGETHER)  # one, a prime number, groups of equal size


def tasks_with(channels: dict[str, int]) -> dict[str, Task]:
    return {name: replace(tiny_tasks()["depth"], name=name, channels=k) for name, k in channels.items()}


def built(**options: Any) -> DeMT:
    """A network with random parameters, always the same ones."""
    torch.manual_seed(0)
    network = DeMT(TinyBackbone(), tiny_tasks(), **SMALL | options)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter)
    return network.eval()


@torch.no_grad()
def predict(network: DeMT, batch: int = 2) -> Tensor:
    """All tasks' predictions for the same images."""
    images = torch.randn(3, 3, *EVEN, generator=torch.Generator().manual_seed(3))[:batch]
    return torch.cat(list(network(images).final.values()), dim=1)


@pytest.mark.parametrize("check", METHOD_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="corrected"),
        pytest.param({"variant": "published"}, id="published"),
        pytest.param({"dim": 9, "heads": 3, "depth": 2}, id="deep"),
    ],
)
def test_conformance(options: dict[str, Any], check: Any) -> None:
    check(DeMT, **SMALL | options)


@pytest.mark.parametrize(
    ("backbone", "channels", "options", "expected"),
    [
        ("swin-t", NYUD, {}, 32_070_259),
        ("swin-t", PASCAL, {}, 33_028_902),
        ("hrnet18", NYUD, {}, 6_748_218),
        ("hrnet18", NYUD, {"dim": 128}, 4_764_730),
        ("hrnet18", PASCAL, {"variant": "published"}, 7_369_496),
    ],
)
def test_it_has_the_published_number_of_parameters(
    backbone: str, channels: dict[str, int], options: dict[str, Any], expected: int
) -> None:
    with torch.device("meta"):
        assert parameters(DeMT(build_backbone(backbone), tasks_with(channels), **options)) == expected


def test_hooks_would_see_the_published_work() -> None:
    with torch.device("meta"):
        network = DeMT(build_backbone("hrnet18"), tasks_with(NYUD), dim=128)
        assert count_module_macs(network, (425, 560)) == pytest.approx(24.11e9, rel=1e-3)


@pytest.mark.parametrize("quirk", quirks(DeMT))
def test_each_quirk_lets_samples_see_each_other(quirk: str) -> None:
    others = tuple(name for name in quirks(DeMT) if name != quirk)
    alone = built(variant="published", without=others)
    assert alone.quirks == {quirk}
    change = (predict(alone, batch=3)[:2] - predict(alone, batch=2)).abs().max()
    assert change > 1e-4


def test_without_its_quirks_the_published_variant_is_the_corrected_one() -> None:
    published = built(variant="published", without=tuple(quirks(DeMT)))
    assert not published.mixes_samples
    torch.testing.assert_close(predict(published), predict(built()))


def test_tasks_see_each_other_in_the_query() -> None:
    network = built()
    before = predict(network)
    with torch.no_grad():
        network.mixers["edge"][0].pointwise.weight.add_(0.5)
    changed = (predict(network) - before).abs().amax(dim=(0, 2, 3))
    assert changed.min() > 1e-4  # the mixer of `edge` reaches all tasks


def test_operators_of_deformable_convolution_agree() -> None:
    torch.testing.assert_close(predict(built(deform="torchvision")), predict(built()), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("variant", ["corrected", "published"])
def test_a_map_of_one_pixel_trains(variant: Any) -> None:
    network = DeMT(TinyBackbone(strides=(16,) * 4), tiny_tasks(), variant=variant, **SMALL).train()
    outputs = network(torch.randn(1, 3, 16, 16))
    torch.stack([x.square().mean() for x in outputs.final.values()]).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize("variant", ["corrected", "published"])
def test_bfloat16(variant: Any) -> None:
    network = DeMT(TinyBackbone(), tiny_tasks(), variant=variant, **SMALL)
    with torch.autocast("cpu", torch.bfloat16):
        outputs = network(torch.randn(2, 3, *EVEN))
    torch.stack([x.float().square().mean() for x in outputs.final.values()]).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dim": 0}, "`dim` of demt must be a whole number >= 1, got 0"),
        ({"depth": True}, "`depth` of demt must be a whole number >= 1, got True"),
        ({"heads": 3}, "`dim` of demt must be a multiple of `heads`, got dim 8 and heads 3"),
        ({"variant": "publishd"}, "did you mean `published`"),
        ({"without": ("query_over_batch",)}, "`corrected` of DeMT has none, got 'query_over_batch'"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(MtlbenchError, match=message):
        DeMT(TinyBackbone(), tiny_tasks(), **SMALL | options)


@pytest.mark.parametrize("positions", POSITIONS)
def test_interaction_is_attention_across_tasks_at_each_position(positions: int) -> None:
    torch.manual_seed(0)
    layer, x = TaskInteraction(8, 2, over_batch=False), torch.randn(2, positions, 3, 8)
    for b in range(2):
        for n in range(positions):
            tokens = x[b, n, :, None]  # a sequence of T tokens
            expected = layer.attention(tokens, tokens, tokens)[0][:, 0]
            torch.testing.assert_close(layer(x)[b, n], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("positions", POSITIONS)
def test_interaction_over_the_batch_is_attention_whose_sequence_is_the_batch(positions: int) -> None:
    torch.manual_seed(0)
    layer, x = TaskInteraction(8, 2, over_batch=True), torch.randn(2, positions, 3, 8)
    tokens = x.flatten(1, 2)
    expected = layer.attention(tokens, tokens, tokens)[0].view(x.shape)
    torch.testing.assert_close(layer(x), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("positions", POSITIONS)
def test_query_asks_the_tasks_at_its_position(positions: int) -> None:
    torch.manual_seed(0)
    x, asked = torch.randn(2, positions, 8), torch.randn(2, positions, 3, 8)
    own, all_samples = (TaskQueryAtPosition(8, 2, over_batch=over) for over in (False, True))
    everyone = asked.transpose(1, 2).flatten(0, 1)  # (B T, N, C): sequence, position, channel
    expected = all_samples.attention(x, everyone, everyone)[0]
    torch.testing.assert_close(all_samples(x, asked), expected, atol=1e-5, rtol=1e-5)
    for b in range(2):
        tokens = asked[b].transpose(0, 1)
        expected = own.attention(x[b : b + 1], tokens, tokens)[0][0]
        torch.testing.assert_close(own(x, asked)[b], expected, atol=1e-5, rtol=1e-5)


def test_levels_are_projected_as_their_concatenation_would_be() -> None:
    torch.manual_seed(0)
    features = [torch.randn(2, c, h, w) for c, h, w in ((3, 7, 9), (5, 4, 5), (2, 7, 9), (4, 1, 1))]
    together = concat_features(features).movedim(1, -1)
    embed, linears = PyramidEmbed(14, 6), PyramidLinears(14, 6, ("depth", "edge"))
    expected = embed[1](embed[0](together)).movedim(-1, 1)
    torch.testing.assert_close(embed(features), expected, atol=1e-5, rtol=1e-5)
    expected = torch.cat([linear(together) for linear in linears.values()], dim=-1).movedim(-1, 1)
    torch.testing.assert_close(linears(features), expected, atol=1e-5, rtol=1e-5)
