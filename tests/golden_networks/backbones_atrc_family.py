"""HRNet, Swin and ViT."""

import torch
from golden_cases import Case
from torch import Tensor

from mtlbench.backbones.base import Backbone
from mtlbench.published import from_published

SENSITIVE = ""  # the first parameter


def build(case: Case) -> Backbone:
    return case.backbone()


def rename(backbone: Backbone, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return backbone.adapt(from_published(state, backbone.published_keys))


@torch.no_grad()
def outputs(case: Case, backbone: Backbone) -> dict[str, Tensor]:
    (images,) = case.inputs()
    return {f"level{i}": x for i, x in enumerate(backbone(images))}
