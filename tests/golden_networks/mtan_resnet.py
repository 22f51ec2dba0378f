"""MTAN on dilated ResNets."""

import torch
from golden_cases import Case
from mtlbench.methods.mtan import MTAN
from torch import Tensor

SENSITIVE = ""  # the first parameter


def build(case: Case) -> MTAN:
    return MTAN(case.backbone(), case.tasks())


@torch.no_grad()
def outputs(case: Case, network: MTAN) -> dict[str, Tensor]:
    return network(case.inputs()[0]).final
