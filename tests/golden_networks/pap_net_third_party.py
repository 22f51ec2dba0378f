"""PAP as EMA-Net's authors have it: what follows the fuse layer."""

import torch
from golden_cases import Case
from mtlbench.methods.pap import PAP
from torch import Tensor

from golden_networks.pad_net import Fused, predict
from mtlbench.resizing import resize

SENSITIVE = ""  # the first parameter


def build(case: Case) -> PAP:
    options, first = case.spec["options"], case.spec["tasks"][0]
    network = PAP(
        case.backbone(),
        case.tasks(),
        variant="ema",
        channels=case.shapes[f"initial_task_prediction_heads.conv_out.{first}.weight"][1],
        beta=options["beta"],
        steps=options["iterations"],
    )
    if case.kind == "head":  # the case's map has passed the fuse layer
        network.fuse = Fused()
    return network


@torch.no_grad()
def outputs(case: Case, network: PAP) -> dict[str, Tensor]:
    found = predict(case, network)
    initial = {t: resize(x, case.spec["output_size"]) for t, x in found.auxiliary["initial"].items()}
    return found.final | {f"initial_{t}": x for t, x in initial.items()}
