"""MQTransformer: conformance, numbers of parameters, what its quirks do, and the layers that it brought."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from golden_cases import parameters
from mtlbench.methods.layers.task_tokens import DropPath, NormedAttention, PixelsReadTokens, TokensReadPixels
from mtlbench.methods.mqtransformer import MQTransformer
from torch import Tensor
from torch.nn import functional as F

from mtlbench.backbones.build import build_backbone
from mtlbench.errors import MtlbenchError
from mtlbench.profiling import count_module_macs
from mtlbench.tasks import Task
from mtlbench.testing import METHOD_CHECKS, TinyBackbone, tiny_tasks
from mtlbench.testing.methods import EVEN
from mtlbench.variants import quirks

SMALL: dict[str, Any] = {"dim": 8, "heads": 2, "tokens": 3, "channels": 4}
NYUD = {"semseg": 40, "depth": 1, "normals": 3, "edge": 1}
PASCAL = {"semseg": 21, "human_parts": 7, "sal": 2, "normals": 3, "edge": 1}
UNUSED = [name for name in quirks(MQTransformer) if name.startswith("unused_")]


def tasks_with(channels: dict[str, int]) -> dict[str, Task]:
    return {name: replace(tiny_tasks()["depth"], name=name, channels=k) for name, k in channels.items()}


def built(**options: Any) -> MQTransformer:
    return MQTransformer(TinyBackbone(), tiny_tasks(), **SMALL | options).eval()


def published_parameters() -> dict[str, Tensor]:
    """Of a published network, random and always the same."""
    torch.manual_seed(0)
    network = built(variant="published")
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return network.state_dict()


@torch.no_grad()
def predict(network: MQTransformer, batch: int = 2) -> Tensor:
    """All tasks' predictions for the same images."""
    network.load_state_dict(published_parameters(), strict=False)
    images = torch.randn(3, 3, *EVEN, generator=torch.Generator().manual_seed(3))[:batch]
    return torch.cat(list(network(images).final.values()), dim=1)


@pytest.mark.parametrize("check", METHOD_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="corrected"),
        pytest.param({"variant": "published"}, id="published"),
        pytest.param({"dim": 9, "heads": 3, "tokens": 2, "drop_path": 0, "cross_dropout": 0}, id="options"),
    ],
)
def test_conformance(options: dict[str, Any], check: Any) -> None:
    check(MQTransformer, **SMALL | options)


@pytest.mark.parametrize(
    ("backbone", "channels", "expected"),
    [
        ("swin-t", NYUD, 33_176_039),
        ("swin-s", NYUD, 54_493_943),
        ("swin-l", NYUD, 202_128_065),
        ("hrnet18", PASCAL, 8_558_802),
        ("swin-t", PASCAL, 33_716_380),
    ],
)
def test_it_has_the_published_number_of_parameters(
    backbone: str, channels: dict[str, int], expected: int
) -> None:
    with torch.device("meta"):
        network = MQTransformer(build_backbone(backbone), tasks_with(channels), variant="published")
    assert parameters(network) == expected


def test_the_corrected_variant_has_no_dead_parameters() -> None:
    with torch.device("meta"):
        backbone, tasks = TinyBackbone(), tasks_with(NYUD)
        published = MQTransformer(backbone, tasks, variant="published")
        corrected = MQTransformer(backbone, tasks)
    patches, attention, positions = 256 * 256 * 16 + 3 * 256, 4 * 256 * 256 + 7 * 256, 2 * 7 * 32
    assert parameters(published) - parameters(corrected) == patches + attention + positions
    assert corrected.dead_parameters == ()


def test_hooks_would_see_the_published_work() -> None:
    with torch.device("meta"):
        network = MQTransformer(build_backbone("swin-t"), tasks_with(NYUD), variant="published")
        assert count_module_macs(network, (425, 560)) == pytest.approx(135.99e9, rel=1e-3)


@pytest.mark.parametrize("quirk", quirks(MQTransformer))
def test_each_quirk_but_unused_parameters_changes_predictions(quirk: str) -> None:
    whole, without = built(variant="published"), built(variant="published", without=(quirk,))
    changed = (predict(whole) - predict(without)).abs().max()
    assert (changed > 1e-3) == (quirk not in UNUSED)
    assert (parameters(without) < parameters(whole)) == (quirk in UNUSED)


def test_without_its_quirks_the_published_variant_is_the_corrected_one() -> None:
    published = built(variant="published", without=tuple(quirks(MQTransformer)))
    torch.testing.assert_close(predict(published), predict(built()))


def test_only_the_decoder_over_the_batch_mixes_samples() -> None:
    others = tuple(name for name in quirks(MQTransformer) if name != "decoder_over_batch")
    mixing = built(variant="published", without=others)
    separate = built(variant="published", without=("decoder_over_batch",))
    assert (predict(mixing, batch=3)[:2] - predict(mixing)).abs().max() > 1e-3
    torch.testing.assert_close(predict(separate, batch=3)[:2], predict(separate), atol=1e-4, rtol=1e-4)
    assert (mixing.mixes_samples, separate.mixes_samples) == (True, False)


@pytest.mark.parametrize("variant", ["corrected", "published"])
def test_a_map_of_one_pixel_trains(variant: Any) -> None:
    network = MQTransformer(TinyBackbone(strides=(16,) * 4), tiny_tasks(), variant=variant, **SMALL).train()
    outputs = network(torch.randn(1, 3, 16, 16))
    torch.stack([x.square().mean() for x in outputs.final.values()]).sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())


def test_bfloat16() -> None:
    network = built().train()
    with torch.autocast("cpu", torch.bfloat16):
        outputs = network(torch.randn(2, 3, *EVEN))
    torch.stack([x.float().square().mean() for x in outputs.final.values()]).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tokens": 0}, "`tokens` of mqtransformer must be a whole number >= 1, got 0"),
        ({"channels": 1.5}, r"`channels` of mqtransformer must be a whole number >= 1, got 1\.5"),
        ({"heads": 3}, "`dim` of mqtransformer must be a multiple of `heads`, got dim 8 and heads 3"),
        ({"drop_path": 1}, r"`drop_path` of mqtransformer must be in \[0, 1\), got 1"),
        ({"cross_dropout": -0.1}, r"`cross_dropout` of mqtransformer must be in \[0, 1\), got -0\.1"),
        ({"without": ("unused_patches",)}, "`corrected` of MQTransformer has none"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(MtlbenchError, match=message):
        built(**options)


def attention(layer: NormedAttention, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """(N, C), (M, C) twice -> (N, C), as the formula has it."""
    q, k, v = (
        layer.split(to(norm(x))).transpose(0, 1)
        for to, norm, x in (
            (layer.to_q, layer.norm_q, q),
            (layer.to_k, layer.norm_k, k),
            (layer.to_v, layer.norm_v, v),
        )
    )
    return layer.proj(F.scaled_dot_product_attention(q, k, v).transpose(0, 1).flatten(1))


def random_norms(layer: NormedAttention) -> None:
    """Other than at the start, where they do nothing."""
    for norm in (layer.norm_q, layer.norm_k, layer.norm_v):
        torch.nn.init.normal_(norm.weight)
        torch.nn.init.normal_(norm.bias)


def test_tokens_read_their_tasks_pixels() -> None:
    torch.manual_seed(0)
    layer, tokens, x = TokensReadPixels(8, 2), torch.randn(3, 4, 8), torch.randn(2, 11, 3, 8)
    random_norms(layer)
    found = layer(tokens, F.layer_norm(x, (8,)))
    for b in range(2):
        for t in range(3):
            expected = attention(layer, tokens[t], x[b, :, t], x[b, :, t])
            torch.testing.assert_close(found[b, t], expected, atol=1e-4, rtol=1e-4)


def test_pixels_read_their_tasks_tokens() -> None:
    torch.manual_seed(0)
    layer, x = PixelsReadTokens(8, 2), torch.randn(2, 11, 3, 8)
    tokens, positions = torch.randn(2, 3, 4, 8), torch.randn(3, 4, 8)
    random_norms(layer)
    found = layer(F.layer_norm(x, (8,)), tokens, positions)
    for b in range(2):
        for t in range(3):
            expected = attention(layer, x[b, :, t], tokens[b, t] + positions[t], tokens[b, t])
            torch.testing.assert_close(found[b, :, t], expected, atol=1e-4, rtol=1e-4)


def test_drop_path_leaves_out_whole_branches() -> None:
    torch.manual_seed(0)
    x = torch.ones(64, 5, 4, 3)
    by_task, together = DropPath(0.25, task_axis=2)(x), DropPath(0.25)(x)
    for dropped, axes in ((by_task, (1, 3)), (together, (1, 2, 3))):
        assert torch.equal(dropped.amin(dim=axes), dropped.amax(dim=axes))  # all of a branch or none
        assert set(dropped.unique().tolist()) == {0.0, x.new_tensor(4 / 3).item()}
    assert 0.65 < by_task.count_nonzero() / x.numel() < 0.85
    assert torch.equal(DropPath(0.25).eval()(x), x)
