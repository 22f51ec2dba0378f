"""PAD-Net: whole networks, and what follows the fuse layer alone."""

from dataclasses import replace
from typing import Any

import torch
from golden_cases import Case
from mtlbench.methods.pad_net import PadNet
from torch import Tensor, nn

from mtlbench.model import Outputs
from mtlbench.tasks import depth

SENSITIVE = ""  # the first parameter


class Fused(nn.Module):
    """Takes the fuse layer's place where its output is given."""

    def forward(self, features: list[Tensor]) -> Tensor:
        (fused,) = features
        return fused


def all_tasks(case: Case) -> dict[str, Any]:
    """What networks with auxiliary tasks are built with."""
    helping = [t for t in case.spec["options"]["auxiliary_tasks"] if t not in case.spec["tasks"]]
    names = [*case.spec["tasks"], *helping]
    tasks = {t: replace(depth(), name=t, channels=case.spec["channels"][t]) for t in names}
    return {"tasks": tasks, "auxiliary": tuple(helping)}


def predict(case: Case, network: Any) -> Outputs:
    inputs = case.inputs()
    if case.kind == "model":
        outputs: Outputs = network(inputs[0])
        return outputs
    return network.decode(inputs, tuple(case.spec["output_size"]))


def build(case: Case) -> PadNet:
    first = next(iter(case.spec["channels"]))
    width = case.shapes[f"initial_task_prediction_heads.conv_out.{first}.weight"][1]
    network = PadNet(case.backbone(), variant="published", channels=width, **all_tasks(case))
    if case.kind == "head":  # the case's map has passed the fuse layer
        network.fuse = Fused()
    return network


@torch.no_grad()
def outputs(case: Case, network: PadNet) -> dict[str, Tensor]:
    found = predict(case, network)
    return found.final | {f"initial_{a}": x for a, x in found.auxiliary["initial"].items()}
