"""Tunings that give each task feature maps of its own: where they stand, what trains, what they refuse."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from mtlbench.tunings.layers.dropout import Dropout
from torch import Tensor

from mtlbench.errors import MtlbenchError
from mtlbench.registry import registry
from mtlbench.tasks import Tasks, depth
from mtlbench.testing import tiny_tasks
from mtlbench.testing.tunings import TinyHeads, TinyHybrid, tiny_swin, tiny_vit

PASCAL = {"semseg": 21, "human_parts": 7, "sal": 1, "normals": 3}
DECODERS = 1_946_624
"""Of the four tasks, on Swin-T."""
PLUS = {"low_rank_merging": True}

PUBLISHED: list[tuple[str, dict[str, Any], str, int]] = [
    ("mtlora", {"r": 16}, "swin-t", 4_953_146 - DECODERS),
    ("mtlora", {"r": 32}, "swin-t", 6_083_642 - DECODERS),
    ("mtlora", {"r": 64}, "swin-t", 8_344_634 - DECODERS),
    ("mtlora", {"r": 4, "task_r": 4, **PLUS}, "swin-t", 2_573_114 - DECODERS),
    ("mtlora", {"r": 8, "task_r": 8, **PLUS}, "swin-t", 3_148_346 - DECODERS),
    ("mtlora", {"r": 16, "task_r": 16, **PLUS}, "swin-t", 4_298_810 - DECODERS),
    ("mtlora", {"r": 16, **PLUS}, "swin-t", 3_469_370 - DECODERS),
    ("mtlora", {"r": 32, **PLUS}, "swin-t", 4_664_378 - DECODERS),
    ("mtlora", {"r": 64, **PLUS}, "swin-t", 7_054_394 - DECODERS),
    ("ditask", {}, "swin-t", 1_602_858),
    ("ditask", {"cells": 128, "task_cells": 64}, "swin-s", 1_663_578),
    ("ditask", {"cells": 128, "task_cells": 64}, "swin-b", 2_899_144),
    ("ditask", {"cells": 128, "task_cells": 64}, "swin-l", 6_402_468),
]


def pascal() -> Tasks:
    return {name: replace(depth(), name=name, channels=channels) for name, channels in PASCAL.items()}


@cache
def kept(backbone: str) -> TinyHeads:
    with torch.device("meta"):
        return TinyHeads(registry.load("backbone", backbone)(taps="after_merging"), pascal())


def untuned(backbone: str) -> TinyHeads:
    """Of our Swin, without memory."""
    return deepcopy(kept(backbone))


def trained(network: Any) -> int:
    return sum(p.numel() for p in network.backbone.parameters() if p.requires_grad)


@pytest.mark.parametrize(("tuning", "options", "backbone", "expected"), PUBLISHED)
def test_published_counts(tuning: str, options: dict[str, Any], backbone: str, expected: int) -> None:
    network = registry.load("tuning", tuning)(**options, variant="published").apply(untuned(backbone))
    assert trained(network) == expected


@pytest.mark.parametrize(("backbone", "expected"), [("swin-t", DECODERS), ("swin-l", 2_679_296)])
def test_count_of_the_decoders(backbone: str, expected: int) -> None:
    with torch.device("meta"):
        trunk = registry.load("backbone", backbone)(taps="after_merging")
        network = registry.load("method", "multi_task")(trunk, pascal(), head="mtlora")
    assert sum(p.numel() for n, p in network.named_parameters() if not n.startswith("backbone.")) == expected


@pytest.mark.parametrize("tuning", ["mtlora", "ditask"])
def test_one_pass_of_a_vit(tuning: str) -> None:
    """Each task has maps of its own, of every tap; images enter the encoder once."""
    network = registry.load("tuning", tuning)().apply(TinyHeads(tiny_vit(), tiny_tasks()))
    for p in network.parameters():
        torch.nn.init.normal_(p, std=0.3)
    entered: list[int] = []
    network.backbone.trunk.patch_embed.register_forward_pre_hook(lambda m, x: entered.append(len(x[0])))
    maps = network.eval().backbone(torch.randn(2, 3, 24, 40))
    assert entered == [2]
    assert list(maps) == list(tiny_tasks())
    first, *others = maps.values()
    assert [tuple(x.shape) for x in first] == [(2, 16, 3, 5)] * 4
    for other in others:
        assert all((x - y).abs().max() > 1e-3 for x, y in zip(first, other, strict=True))


def test_a_task_alone_trains_what_is_its_own() -> None:
    """No gradient of one task's loss reaches what another task has for itself."""
    network = registry.load("tuning", "ditask")(cells=4).apply(TinyHeads(tiny_swin(), tiny_tasks()))
    task, *others = tiny_tasks()
    network(torch.randn(2, 3, 32, 32)).final[task].square().mean().backward()
    reached = {n for n, p in network.named_parameters() if p.grad is not None and p.grad.any()}
    assert any(name.endswith(f"tasks_A.{task}") for name in reached)
    assert not [name for name in reached if name.endswith(tuple(f"tasks_A.{other}" for other in others))]


def test_weights_that_are_loaded_are_taken_apart_anew() -> None:
    tuned = [registry.load("tuning", "ditask")().apply(TinyHeads(tiny_swin(), tiny_tasks())) for _ in "12"]
    images = torch.randn(1, 3, 32, 32)

    def predictions(network: TinyHeads) -> Tensor:
        with torch.no_grad():
            return torch.cat([x.flatten() for x in network.eval()(images).final.values()])

    first, second = map(predictions, tuned)
    assert not torch.allclose(first, second)
    tuned[1].load_state_dict(tuned[0].state_dict())
    assert torch.equal(first, predictions(tuned[1]))


def test_what_is_frozen_besides() -> None:
    frozen = ("norms", "positions", "patch_embed", "reduction")
    network = registry.load("tuning", "mtlora")(frozen=frozen).apply(TinyHeads(tiny_vit(), tiny_tasks()))
    assert not [n for n, p in network.backbone.named_parameters() if p.requires_grad and "lora_" not in n]


@pytest.mark.parametrize(
    ("tuning", "options", "message"),
    [
        ("mtlora", {"mode": "matrixv3"}, "`mode`"),
        ("mtlora", {"frozen": ("norm",)}, "`frozen` `norm`: did you mean `norms`"),
        ("mtlora", {"r": (1, 2)}, "`r` must be one value or 4, one for each map, got 2"),
        ("mtlora", {"task_r": 0}, "`task_r` must be >= 1, got 0"),
        ("mtlora", {"task_r": {"semseg": 2}}, "`task_r` must have a value for each task, has none for depth"),
        ("mtlora", {"scale": 0.0}, "`scale` must be > 0, got 0"),
        ("mtlora", {"dropout": 1.0}, r"`dropout` must be in \[0, 1\), got 1.0"),
        ("mtlora", PLUS, "a backbone that merges patches, a Swin"),
        ("ditask", {"cells": 1}, "`cells` must be >= 2, got 1"),
        ("ditask", {"variant": "table1"}, "`variant`"),
    ],
)
def test_wrong_options(tuning: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(MtlbenchError, match=message):
        registry.load("tuning", tuning)(**options).apply(TinyHeads(tiny_vit(), tiny_tasks()))


@pytest.mark.parametrize("tuning", ["mtlora", "ditask"])
def test_other_backbones_are_refused(tuning: str) -> None:
    with pytest.raises(MtlbenchError, match=r"must be one of swin-t, .* got a TinyHybrid"):
        registry.load("tuning", tuning)().apply(TinyHeads(TinyHybrid(), tiny_tasks()))


def test_dropout() -> None:
    torch.manual_seed(0)
    dropout, x = Dropout(0.05), torch.full((301, 997), 2.0, requires_grad=True)
    y = dropout(x)
    y.sum().backward()
    assert x.grad is not None
    assert (y == 0).float().mean().item() == pytest.approx(0.05, abs=0.002)
    assert y[y != 0].unique().tolist() == pytest.approx([2 / 0.95], rel=2e-5)
    assert torch.equal(x.grad * 2, y)
    assert not torch.equal(dropout(x), y)
    assert torch.equal(Dropout(0.05).eval()(x), x)
    for p, expected in ((0.0, x), (1.0, torch.zeros_like(x))):
        assert torch.equal(Dropout(p)(x), expected)
