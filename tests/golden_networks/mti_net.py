"""MTI-Net: whole networks and heads, with every scale's predictions and features."""

import torch
from golden_cases import Case
from mtlbench.methods.mti_net import MTINet
from torch import Tensor

from golden_networks.pad_net import all_tasks, predict

SENSITIVE = "propagation.3.reduce.bn2.bias"


def build(case: Case) -> MTINet:
    return MTINet(case.backbone(), variant="published", **all_tasks(case))


@torch.no_grad()
def outputs(case: Case, network: MTINet) -> dict[str, Tensor]:
    found = predict(case, network)
    inputs = case.inputs()
    features, _ = network.at_scales(network.backbone(inputs[0]) if case.kind == "model" else inputs)
    named = dict(found.final)
    for s, of_tasks in enumerate(features):
        endpoint = f"deep_supervision.scale_{s}"
        named |= {f"{endpoint}.features_{a}": x for a, x in of_tasks.items()}
        named |= {f"{endpoint}.{a}": x for a, x in found.auxiliary[endpoint].items()}
    return named
