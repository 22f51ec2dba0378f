"""Single-task and multi-task networks with HRNet's and DeepLab's heads."""

import torch
from golden_cases import Case
from mtlbench.methods.multi_task import MultiTask
from mtlbench.methods.single_task import SingleTask
from torch import Tensor

from golden_networks.pad_net import predict

SENSITIVE = ""  # the first parameter


def build(case: Case) -> MultiTask:
    single = any(key.startswith("decoder.") for key in case.shapes)
    deeplab = any("convs.4.1.weight" in key for key in case.shapes)
    method = SingleTask if single else MultiTask
    return method(case.backbone(), case.tasks(), head="deeplab" if deeplab else "hrnet")


@torch.no_grad()
def outputs(case: Case, network: MultiTask) -> dict[str, Tensor]:
    return predict(case, network).final
