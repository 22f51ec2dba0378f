"""Visual prompts do in blocks of ViTs and Swins what plain formulations of them do."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch
from timm.models.swin_transformer import SwinTransformer
from torch import Tensor
from torch.nn import functional as F

from mtlbench.backbones.base import Backbone
from mtlbench.backbones.swin import Swin
from mtlbench.errors import MtlbenchError
from mtlbench.registry import registry
from mtlbench.testing import tiny_tasks
from mtlbench.testing.tunings import TinyHeads, TinyHybrid, tiny_swin, tiny_timm_swin, tiny_vit

PROMPTS = 3
ALL = [
    pytest.param(tiny_swin, id="swin"),
    pytest.param(tiny_timm_swin, id="timm_swin"),
    pytest.param(tiny_vit, id="vit"),
]


def prompted(backbone: Backbone, *, deep: bool, per_task: bool = False) -> TinyHeads:
    """With prompts that are no smaller than tokens."""
    tuning = registry.load("tuning", "vpt_deep" if deep else "vpt_shallow")
    network = TinyHeads(backbone, tiny_tasks())
    tuning(prompts=PROMPTS, per_task=per_task).apply(network)
    for parameter in network.backbone.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter)
    return network.eval()


def prompts_of(backbone: Any) -> list[Tensor]:
    return [value for name, value in backbone.named_parameters() if name.endswith("attn.prompts")]


def plain_swin() -> Swin:
    """Of blocks that don't shift their windows of 4x4 tokens."""
    sizes = {"embed_dim": 8, "depths": (1,) * 4, "num_heads": (1, 2, 2, 2), "window_size": 4}
    trunk = SwinTransformer(
        img_size=32, num_classes=0, strict_img_size=False, always_partition=True, drop_path_rate=0.0, **sizes
    )
    for parameter in trunk.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return Swin(trunk)


def concatenated(vit: Any, prompts: list[Tensor], images: Tensor, *, deep: bool) -> list[Tensor]:
    """Prompts before the tokens, through the ViT's own blocks; deep ones are replaced before each."""
    (x,) = next(vit.staged(images))
    p, x, maps = prompts[0].expand(len(images), -1, -1), x[..., 0].mT, []
    for i, block in enumerate(vit.blocks):
        p = prompts[i].expand(len(images), -1, -1) if deep else p
        p, x = block(torch.cat([p, x], dim=1)).split([PROMPTS, x.shape[1]], dim=1)
        if i in vit.taps:
            maps.append(vit.as_map(len(maps), x.mT[..., None], (images.shape[-2], images.shape[-1])))
    return maps


def in_every_window(swin: Any, prompts: list[Tensor], images: Tensor, *, deep: bool) -> list[Tensor]:
    """Of one image: a loop over windows, with softmax written out."""
    x, p, maps = swin.patch_embed(images)[0], prompts[0][0], []  # (H, W, C), (P, C)
    for i, stage in enumerate(swin.layers):
        if i:
            x = stage.downsample(x[None])[0]
            p = stage.downsample.reduction(stage.downsample.norm(torch.cat([p, p, p, p], dim=-1)))
        p = prompts[i][0] if deep else p
        block = stage.blocks[0]
        (height, width), tokens = x.shape[:2], block.norm1(x)
        tokens = F.pad(tokens, (0, 0, 0, -width % 4, 0, -height % 4))
        found, answers = torch.zeros_like(tokens), []
        for row in range(0, tokens.shape[0], 4):
            for column in range(0, tokens.shape[1], 4):
                window = tokens[row : row + 4, column : column + 4].reshape(16, -1)
                both = attended(block.attn.attention, torch.cat([block.norm1(p), window]))
                answers.append(both[:PROMPTS])
                found[row : row + 4, column : column + 4] = both[PROMPTS:].unflatten(0, (4, 4))
        x, p = x + found[:height, :width], p + torch.stack(answers).mean(0)
        x, p = x + block.mlp(block.norm2(x)), p + block.mlp(block.norm2(p))
        maps.append(getattr(swin, f"norm{i}")(x).permute(2, 0, 1)[None])
    return maps


def attended(attention: Any, tokens: Tensor) -> Tensor:
    """Among prompts and the 16 tokens of a window; between tokens with a bias for each offset."""
    heads = attention.num_heads
    q, k, v = attention.qkv(tokens).view(len(tokens), 3, heads, -1).permute(1, 2, 0, 3)
    logits = q @ k.mT / q.shape[-1] ** 0.5  # (heads, P + 16, P + 16)
    bias = attention.relative_position_bias_table[attention.relative_position_index.flatten()]
    logits[:, PROMPTS:, PROMPTS:] += bias.view(16, 16, heads).permute(2, 0, 1)
    return attention.proj((logits.softmax(-1) @ v).transpose(0, 1).flatten(1))  # type: ignore[no-any-return]


@pytest.mark.parametrize("deep", [False, True], ids=["shallow", "deep"])
def test_in_a_vit_they_are_tokens(deep: bool) -> None:
    vit, images = tiny_vit(), torch.randn(2, 3, 24, 40)
    unprompted = deepcopy(vit).eval()
    network = prompted(vit, deep=deep)
    with torch.no_grad():
        found = network.backbone(images)
        expected = concatenated(unprompted, prompts_of(network.backbone), images, deep=deep)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
        assert all((x - y).abs().max() > 0.01 for x, y in zip(found, unprompted(images), strict=True))


@pytest.mark.parametrize("deep", [False, True], ids=["shallow", "deep"])
def test_in_a_swin_they_are_in_every_window(deep: bool) -> None:
    """Maps are 8x12 tokens and less: six windows, then some that are partly empty."""
    network = prompted(plain_swin(), deep=deep)
    images = torch.randn(1, 3, 32, 48)
    with torch.no_grad():
        found = network.backbone(images)
        expected = in_every_window(network.backbone, prompts_of(network.backbone), images, deep=deep)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("backbone", ALL)
@pytest.mark.parametrize("deep", [False, True], ids=["shallow", "deep"])
def test_images_of_a_batch_dont_meet(backbone: Callable[[], Backbone], deep: bool) -> None:
    """Of odd size, with prompts of each task's own."""
    network = prompted(backbone(), deep=deep, per_task=True)
    images = torch.randn(3, 3, 37, 53)
    with torch.no_grad():
        together = network(images).final
        alone = [network(image[None]).final for image in images]
    for task, found in together.items():
        torch.testing.assert_close(found, torch.cat([each[task] for each in alone]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("backbone", ALL)
def test_a_copy_carries_its_own(backbone: Callable[[], Backbone]) -> None:
    """Prompts on their way through the original are no business of a copy's."""
    network = prompted(backbone(), deep=False)
    copy, images = deepcopy(network), torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        network(images[:1])
        found, expected = copy(images).final, network(images).final
    assert all(torch.equal(found[task], expected[task]) for task in expected)


@pytest.mark.parametrize(
    ("options", "backbone", "message"),
    [
        ({"prompts": 0}, tiny_vit, "`prompts` must be >= 1, got 0"),
        ({}, TinyHybrid, "must be one of swin-t, .* got a TinyHybrid"),
    ],
)
@pytest.mark.parametrize("tuning", ["vpt_shallow", "vpt_deep"])
def test_refused(
    tuning: str, options: dict[str, Any], backbone: Callable[[], Backbone], message: str
) -> None:
    with pytest.raises(MtlbenchError, match=message):
        registry.load("tuning", tuning)(**options).apply(TinyHeads(backbone(), tiny_tasks()))
