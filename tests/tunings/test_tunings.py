"""Every built-in tuning keeps the promises of all tunings, with its options."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from mtlbench.backbones.base import Backbone
from mtlbench.registry import registry
from mtlbench.testing import TUNING_CHECKS
from mtlbench.testing.tunings import TinyHeads, tiny_swin, tiny_timm_swin, tiny_vit

LARGE = 64.0
"""Scale with which updates of a product, zero at first, move in the first steps."""

CASES: list[tuple[str, dict[str, Any]]] = [
    ("full", {}),
    ("decoder", {}),
    ("decoder", {"backbone_mode": "train"}),
    ("degmix", {}),
    ("bitfit", {}),
    ("bitfit", {"norms": True, "also": ("convs.0", "table"), "backbone_mode": "eval"}),
    ("bitfit", {"per_task": True, "norms": True}),
    ("adapter", {}),
    ("adapter", {"after": "both", "per_task": False, "norm": False, "reduction": 3}),
    ("hyperformer", {"reduction": 2, "embedding": 6}),
    ("polyhistor", {"rank": 2, "embedding": 6}),
    ("polyhistor", {"rank": 2, "embedding": 6, "lite": True}),
    ("dora", {"per_task": True, "dropout": 0.1}),
    ("ia3", {}),
    ("ia3", {"per_task": True, "targets": "all-linear"}),
    ("vera", {"r": 8}),
    ("lora", {"per_task": True, "norms": True}),
    ("lora", {}),
    ("lora", {"targets": r"convs\..*", "dropout": 0.2, "backbone_mode": "eval"}),
    ("lora", {"targets": ("qkv", "convs.1"), "dora": True, "dropout": 0.1, "bias": "lora_only"}),
    ("lora", {"targets": "all-linear", "rslora": True, "bias": "all", "norms": True, "also": ("table",)}),
]

ON_BLOCKS: list[tuple[str, dict[str, Any], Callable[[], Backbone]]] = [
    ("mtlora", {"task_r": 1, "task_scale": LARGE}, tiny_timm_swin),
    ("mtlora", {"mode": "addition", "low_rank_merging": True}, partial(tiny_swin, taps="after_merging")),
    ("mtlora", {"mode": "matrixv2", "r": (2, 0, 1, 2), "task_scale": LARGE}, tiny_vit),
    ("mtlora", {"mode": "lora_only", "low_rank_merging": True}, tiny_swin),
    ("vpt_shallow", {"prompts": 3}, tiny_vit),
    ("vpt_shallow", {"prompts": 2, "per_task": False, "backbone_mode": "train"}, tiny_swin),
    ("vpt_deep", {"prompts": 2}, tiny_swin),
    ("vpt_deep", {"prompts": 3, "per_task": False, "backbone_mode": "train"}, tiny_vit),
    ("ditask", {"cells": 4, "deformed_merging": True}, partial(tiny_swin, taps="after_merging")),
    ("ditask", {"cells": 4, "task_cells": (2, 4, 4, 3)}, tiny_vit),
    ("ditask", {"cells": 5, "task_cells": None, "deformed_merging": True}, tiny_timm_swin),
]
"""Tunings of a transformer's blocks, each with a backbone that has some."""


@pytest.mark.parametrize(("name", "options"), CASES, ids=lambda v: v if isinstance(v, str) else ",".join(v))
@pytest.mark.parametrize("check", TUNING_CHECKS, ids=lambda check: check.__name__)
def test_checks(check: Callable[..., None], name: str, options: dict[str, Any]) -> None:
    check(registry.load("tuning", name), **options)


@pytest.mark.parametrize(
    ("name", "options", "backbone"), [pytest.param(*case, id=case[0]) for case in ON_BLOCKS]
)
@pytest.mark.parametrize("check", TUNING_CHECKS, ids=lambda check: check.__name__)
def test_checks_on_blocks(
    check: Callable[..., None], name: str, options: dict[str, Any], backbone: Callable[[], Backbone]
) -> None:
    check(registry.load("tuning", name), TinyHeads, backbone, **options)


def test_every_tuning_is_checked() -> None:
    built_in = {plugin.name for plugin in registry.plugins("tuning") if plugin.origin.startswith("mtlbench ")}
    assert built_in == {name for name, *_ in [*CASES, *ON_BLOCKS]}
