"""TaskPrompter: conformance, sizes, numbers of parameters, what its quirks change."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from golden_cases import parameters
from mtlbench.methods.taskprompter.channels import ChannelAttention
from mtlbench.methods.taskprompter.shifted import position_bias
from mtlbench.methods.taskprompter.taskprompter import TaskPrompter
from timm.models.swin_transformer import WindowAttention
from timm.models.vision_transformer import VisionTransformer
from tiny_transformers import swin, vit
from torch import Tensor

from mtlbench.backbones.build import build_backbone
from mtlbench.backbones.weights import load_file_weights
from mtlbench.errors import MtlbenchError
from mtlbench.method_weights import load_method_weights
from mtlbench.profiling import count_module_macs
from mtlbench.registry import registry
from mtlbench.tasks import Task
from mtlbench.testing import METHOD_CHECKS, TinyBackbone, tiny_tasks
from mtlbench.testing.methods import (
    check_added_tasks,
    check_determinism,
    check_gradients,
    check_other_strides,
    check_reach,
    check_state_dict,
    check_task_order,
)

NYUD = {"semseg": 40, "depth": 1, "normals": 3, "edge": 1}
PASCAL_L = {"embed_dim": 300, "final_dim": 350, "channel_heads": 1, "reweight": True}
PASCAL_B = {"embed_dim": 780, "final_dim": 1024, "reweight": True}
PASCAL = {"semseg": 21, "human_parts": 7, "sal": 2, "normals": 3, "edge": 1}
SMALL: dict[str, Any] = {"input_size": (64, 96), "embed_dim": 6, "final_dim": 8, "channel_heads": 4}
AT_ONE_SIZE = (
    check_gradients,
    check_reach,
    check_determinism,
    check_state_dict,
    check_task_order,
    check_added_tasks,
)
"""What of the checks takes images of 64x96 only."""


REST = [check for check in METHOD_CHECKS if check is not check_other_strides]
"""They bring backbones of other strides, and prompts need one of two kinds."""


def on_vit(backbone: Any, tasks: Any, **options: Any) -> TaskPrompter:
    """Whatever backbone a check offers."""
    return TaskPrompter(vit(), tasks, **SMALL | options)


def on_swin(backbone: Any, tasks: Any, **options: Any) -> TaskPrompter:
    """Whatever backbone a check offers."""
    return TaskPrompter(swin(), tasks, channel_dim=16, **SMALL | options)


def tasks_with(channels: dict[str, int]) -> dict[str, Task]:
    return {name: replace(tiny_tasks()["depth"], name=name, channels=k) for name, k in channels.items()}


def images(batch: int, size: tuple[int, int]) -> Tensor:
    return torch.randn(batch, 3, *size, generator=torch.Generator().manual_seed(7))


def gradients_are_finite(network: TaskPrompter) -> bool:
    """Of all parameters that get one."""
    named, dead = network.named_parameters(), network.dead_parameters or ("//",)
    return all(p.grad is not None and p.grad.isfinite().all() for n, p in named if not n.startswith(dead))


@pytest.mark.parametrize("check", REST, ids=lambda check: check.__name__)
@pytest.mark.parametrize(
    ("method", "options"),
    [
        pytest.param(on_vit, {"reweight": True}, id="vit"),
        pytest.param(on_swin, {}, id="swin"),
    ],
)
def test_conformance(method: Any, options: dict[str, Any], check: Any) -> None:
    check(method, **options)


@pytest.mark.parametrize("check", AT_ONE_SIZE, ids=lambda check: check.__name__)
@pytest.mark.parametrize(
    ("method", "options"),
    [
        pytest.param(on_vit, {"variant": "published"}, id="vit-published"),
        pytest.param(on_swin, {"variant": "published", "channel_heads": 1}, id="swin-published"),
        pytest.param(on_vit, {"prompt_length": 2, "head": "deconv", "image_scale": 1.5}, id="vit-options"),
        pytest.param(on_swin, {"prompt_length": 2, "head": "conv"}, id="swin-options"),
    ],
)
def test_conformance_at_one_size(method: Any, options: dict[str, Any], check: Any) -> None:
    check(method, **options)


@pytest.mark.parametrize(
    ("backbone", "channels", "size", "options", "expected"),
    [
        ("vit-l-384", NYUD, (448, 576), {}, 513.506),
        ("vit-l-384", PASCAL, (512, 512), PASCAL_L, 401.105),
        ("vit-b-384", PASCAL, (512, 512), PASCAL_B, 418.332),
    ],
)
def test_published_number_of_parameters(
    backbone: str, channels: dict[str, int], size: tuple[int, int], options: dict[str, Any], expected: float
) -> None:
    """In millions, with the position embedding that published checkpoints hold; the paper has 513.1 for the
    first. `corrected` lacks the last block's layer from positions to channels.
    """
    found = {}
    for variant in ("published", "corrected"):
        with torch.device("meta"):
            network = TaskPrompter(
                build_backbone(backbone), tasks_with(channels), variant=variant, input_size=size, **options
            )
            positions = size[0] * size[1] // 256
            width = network.backbone.channels[0]
            network.backbone.adapt({"pos_embed": torch.empty(1, 1 + positions, width)})
        found[variant] = parameters(network)
    assert round(found["published"] / 1e6, 3) == expected
    assert found["published"] - found["corrected"] == (positions + 1) * width


def test_published_multiply_accumulates() -> None:
    """The paper has 789.90 G for ViT-L; counted by modules, as there."""
    with torch.device("meta"):
        network = TaskPrompter(build_backbone("vit-l-384"), tasks_with(NYUD), variant="published")
        found = count_module_macs(network, (448, 576)) / 1e9
    assert found == pytest.approx(789.90, rel=2e-4)


@pytest.mark.parametrize("size", [(64, 96), (53, 71), (16, 16), (128, 160)])
@pytest.mark.parametrize("method", [on_vit, on_swin])
def test_one_image_of_any_size_trains(method: Any, size: tuple[int, int]) -> None:
    network = method(None, tiny_tasks())
    outputs = network(images(1, size)).final
    assert {x.shape[-2:] for x in outputs.values()} == {size}
    sum(value.square().mean() for value in outputs.values()).backward()
    assert gradients_are_finite(network)


@pytest.mark.parametrize("discards", [True, False])
def test_products_with_channels_do_not_grow_with_the_map(discards: bool) -> None:
    """Of maps that are constant; resizing to twice the size keeps the mean."""
    attention = ChannelAttention(6, (4, 5), windows=1, discards=discards, updates=True)
    prompts, colours = torch.randn(2, 3, 6), torch.randn(2, 6, 1, 1)
    small, large = (attention(prompts, colours.expand(-1, -1, *n)) for n in ((4, 5), (8, 10)))
    torch.testing.assert_close(large[0], small[0])
    if not discards:
        torch.testing.assert_close(large[1], small[1])


def test_an_update_is_what_attention_over_channels_finds() -> None:
    """In each of 2 x 2 windows of a map whose height they don't divide, computed one by one."""
    torch.manual_seed(0)
    attention = ChannelAttention(3, (5, 4), windows=2, discards=False, updates=True)
    prompts, x = torch.randn(1, 2, 3), torch.randn(1, 3, 5, 4)
    products, update = attention(prompts, x)
    c = attention.into(prompts)[0].view(2, 5, 4)
    found = torch.zeros(2, 5, 4)
    for i, rows in enumerate((slice(0, 3), slice(3, 5))):
        for j, columns in enumerate((slice(0, 2), slice(2, 4))):
            q, k = c[:, rows, columns].flatten(1), x[0, :, rows, columns].flatten(1)
            torch.testing.assert_close(products[0, :, :, i, j], q @ k.T)
            weights = (q @ k.T / (5 * 4 / 4) ** 0.5).softmax(-1)
            found[:, rows, columns] = (weights @ k).view(2, rows.stop - rows.start, 2)
    torch.testing.assert_close(update[0], attention.out(found.flatten(1)))


@pytest.mark.parametrize(
    ("method", "quirk", "options"),
    [
        (on_vit, "discarded_attention", {}),
        (on_vit, "first_prompts", {"prompt_length": 2}),
        (on_swin, "raw_query", {}),
        (on_swin, "unshifted_small_maps", {}),
        (on_swin, "first_prompts", {"prompt_length": 2}),
    ],
)
def test_a_quirk_changes_predictions(method: Any, quirk: str, options: dict[str, Any]) -> None:
    network = method(None, tiny_tasks(), variant="published", **options).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.2)
    without = method(None, tiny_tasks(), variant="published", without=(quirk,), **options).eval()
    without.load_state_dict(network.state_dict())
    x = images(1, (64, 96))
    with torch.no_grad():
        kept, left = network(x).final, without(x).final
    assert all((kept[t] - left[t]).abs().max() > 1e-3 * kept[t].std() for t in kept)


def test_the_unused_update_changes_none() -> None:
    network = on_vit(None, tiny_tasks(), variant="published").eval()
    without = on_vit(None, tiny_tasks(), variant="published", without=("unused_update",)).eval()
    published = network.state_dict()
    without.load_state_dict({key: published[key] for key in without.state_dict()})
    x = images(1, (64, 96))
    with torch.no_grad():
        kept, left = network(x).final, without(x).final
    assert all(torch.equal(kept[t], left[t]) for t in kept)
    gone = published.keys() - without.state_dict().keys()
    assert gone == {f"prompted.channel.3.out.{kind}" for kind in ("weight", "bias")}


def test_published_code_takes_one_size() -> None:
    network = on_vit(None, tiny_tasks(), variant="published")
    with pytest.raises(MtlbenchError, match=r"`input_size` 64x96 only, got 64x64: set `input_size`, or take"):
        network(images(1, (64, 64)))
    anywhere = on_vit(None, tiny_tasks(), variant="published", without=("fixed_size",))
    assert anywhere(images(2, (64, 64))).final["depth"].shape == (2, 1, 64, 64)


@pytest.mark.parametrize(("method", "size"), [(on_vit, (70, 111)), (on_swin, (67, 98))])
def test_published_code_cuts_off_what_is_no_whole_patch(method: Any, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    network = method(None, tiny_tasks(), variant="published", input_size=size).eval()
    whole = method(None, tiny_tasks(), variant="published").eval()
    whole.load_state_dict(network.state_dict())
    x = images(1, size)
    with torch.no_grad():
        found, expected = network.task_features(x), whole.task_features(x[..., :64, :96])
        assert all(torch.equal(found[task], expected[task]) for task in expected)
        assert network(x).final["depth"].shape == (1, 1, *size)


@pytest.mark.parametrize("used", [1, 2, 4])
def test_position_bias_of_smaller_windows(used: int) -> None:
    """A displacement has the same bias in windows of every size."""
    attention = WindowAttention(6, 2, window_size=4)
    whole = attention._get_rel_pos_bias()[0].view(2, 4, 4, 4, 4)  # (heads, row, column, row, column)
    found = position_bias(attention.relative_position_bias_table, 4, used)
    assert torch.equal(found[0], whole[:, :used, :used, :used, :used].reshape(2, used**2, used**2))


def test_a_swin_that_is_tapped_after_merging() -> None:
    """Its levels are there anyway."""
    torch.manual_seed(0)
    merged, plain = (
        TaskPrompter(swin(**taps), tiny_tasks(), channel_dim=16, **SMALL).eval()
        for taps in ({"taps": "after_merging"}, {})
    )
    merged.load_state_dict(plain.state_dict())
    x = images(1, (64, 96))
    with torch.no_grad():
        assert torch.equal(merged(x).final["depth"], plain(x).final["depth"])


def test_weights_of_the_backbone_are_kept(tmp_path: Path) -> None:
    """ImageNet weights are loaded before; the class token goes."""
    trunk = VisionTransformer(img_size=(64, 64), embed_dim=8, depth=4, num_heads=2, num_classes=5)
    torch.save(trunk.state_dict(), tmp_path / "imagenet.pth")
    backbone = vit()
    load_file_weights(backbone, str(tmp_path / "imagenet.pth"))
    network = TaskPrompter(backbone, tiny_tasks(), **SMALL)
    held = network.state_dict()
    assert torch.equal(held["backbone.blocks.3.attn.qkv.weight"], trunk.blocks[3].attn.qkv.weight)
    assert torch.equal(held["backbone.pos_embed"], trunk.pos_embed)
    assert "backbone.cls_token" not in held
    assert network(images(1, (64, 96))).final["edge"].shape == (1, 1, 64, 96)


def test_a_checkpoint_with_positions_of_another_size(tmp_path: Path) -> None:
    source, target = (TaskPrompter(vit(size), tiny_tasks(), **SMALL) for size in ((64, 96), (64, 64)))
    torch.save({"model": source.state_dict()}, tmp_path / "source.pth")
    load_method_weights(target, str(tmp_path / "source.pth"))
    x = images(1, (64, 96))
    with torch.no_grad():
        expected, found = source.eval()(x).final, target.eval()(x).final
    assert all(torch.equal(found[task], expected[task]) for task in expected)


@pytest.mark.parametrize("method", [on_vit, on_swin])
def test_bfloat16(method: Any) -> None:
    network = method(None, tiny_tasks())
    with torch.autocast("cpu", torch.bfloat16):
        outputs = network(images(2, (64, 80)))
    sum(value.float().square().mean() for value in outputs.final.values()).backward()
    assert gradients_are_finite(network)


def test_which_backbones_can_take_prompts() -> None:
    refused = {name for name in registry.names("backbone") if TaskPrompter.unsupported(["depth"], name)}
    assert not any(name.startswith(("vit-", "swin-")) for name in refused)
    assert {"resnet18", "hrnet18", "efficientnet-lite0"} <= refused
    assert "blocks of a ViT or a Swin, which convnext_tiny" in str(
        TaskPrompter.unsupported(["depth"], "convnext_tiny")
    )
    with pytest.raises(MtlbenchError, match=r"got TinyBackbone: take one of swin-t, .*vit-l-384"):
        TaskPrompter(TinyBackbone(), tiny_tasks())


def test_a_tuning_that_replaces_the_backbone_is_refused() -> None:
    network = on_vit(None, tiny_tasks())
    network.backbone = TinyBackbone()
    with pytest.raises(MtlbenchError, match="the tuning has put TinyBackbone in its place"):
        network(images(1, (64, 96)))


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        (on_vit, {"input_size": (64, 0)}, "`input_size` .* height and a width .*, got 0 for the width"),
        (on_vit, {"variant": "published", "input_size": (8, 64)}, "at least 16x16 .*, got 8x64"),
        (on_vit, {"embed_dim": -1}, "`embed_dim` of taskprompter must be a whole number >= 1, got -1"),
        (on_vit, {"final_dim": 0}, "`final_dim` of taskprompter must be a whole number >= 1, got 0"),
        (on_vit, {"channel_heads": 5}, "`channel_heads` of taskprompter must be a square number, got 5"),
        (on_vit, {"prompt_length": 3}, "must divide the backbone's 8 channels, got 3 times 2"),
        (on_vit, {"reweight": True, "prompt_length": 2}, "`reweight` .* needs `prompt_length` 1, got 2"),
        (on_vit, {"image_scale": 0}, r"`image_scale` of taskprompter must be in \(0, 4\], got 0"),
        (on_vit, {"variant": "publish"}, "did you mean `published`"),
        (on_vit, {"without": ("fixed_size",)}, "`corrected` of TaskPrompter has none"),
        (on_swin, {"channel_heads": 9}, "must be a square number, its root a multiple .*, got 16 with 9"),
        (on_swin, {"reweight": True}, "`reweight` of taskprompter needs a plain ViT"),
    ],
)
def test_wrong_options_are_named(method: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(MtlbenchError, match=message):
        method(None, tiny_tasks(), **options)
