"""HRNet, Swin and ViT against the published code."""

import pytest
import torch
from golden_cases import ROOT, Case, cases, compare, load_filled, parameters
from torch import Tensor

from mtlbench.backbones.base import Backbone
from mtlbench.published import from_published

FAMILY = "backbones_atrc_family"


def load(case: Case) -> Backbone:
    backbone = case.backbone()
    assert parameters(backbone) == case.spec["parameters"]

    def rename(state: dict[str, Tensor]) -> dict[str, Tensor]:
        return backbone.adapt(from_published(state, backbone.published_keys))

    load_filled(case, backbone, rename, dead=r"\.relative_position_index$")
    return backbone.eval()


@torch.no_grad()
def run(case: Case, backbone: Backbone) -> dict[str, Tensor]:
    (images,) = case.inputs()
    return {f"level{i}": x for i, x in enumerate(backbone(images))}


@pytest.mark.parametrize("case", cases(FAMILY))
def test_backbone_golden(case: Case) -> None:
    assert case.kind == "backbone"
    compare(case, run(case, load(case)))


@pytest.mark.parametrize("case", cases(FAMILY))
def test_backbone_golden_notices_a_changed_weight(case: Case) -> None:
    backbone = load(case)
    next(backbone.parameters()).data.flatten()[:3] += 2.0
    with pytest.raises(AssertionError, match=r"level\d: "):
        compare(case, run(case, backbone))


def test_golden_folder_holds_cases() -> None:
    assert list(ROOT.glob("*/*.json")), f"no golden cases in {ROOT}: is MTLBENCH_GOLDEN right?"
