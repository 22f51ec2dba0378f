"""Cross-stitch networks and NDDR-CNN: whole networks, with the features after every unit."""

from typing import Any

import torch
from golden_cases import Case
from mtlbench.methods.cross_stitch import CrossStitch
from mtlbench.methods.joined_networks import JoinedNetworks
from torch import Tensor

from mtlbench.backbones.staged import Maps

SENSITIVE = r"cross_stitch\.stage4\."


def options(case: Case) -> dict[str, Any]:
    deeplab = any("convs.4.1.weight" in key for key in case.shapes)
    given = {key: case.spec["options"][key] for key in ("alpha", "beta") if key in case.spec["options"]}
    return {"variant": "published", "head": "deeplab" if deeplab else "hrnet", **given}


def build(case: Case) -> CrossStitch:
    return CrossStitch(case.backbone(), case.tasks(), **options(case))


@torch.no_grad()
def outputs(case: Case, network: JoinedNetworks) -> dict[str, Tensor]:
    after: dict[str, Tensor] = {}
    stages = iter(case.spec["options"]["stages"])
    exchange = network.backbone.exchange

    def noted(pause: int, maps: dict[str, Maps]) -> dict[str, Maps]:
        mixed = exchange(pause, maps)
        if pause or network.at_stem:
            name = next(stages)
            after.update({f"after_{name}.{task}": x for task, (x,) in mixed.items()})
        return mixed

    network.backbone.exchange = noted
    final = network(case.inputs()[0]).final
    network.backbone.exchange = exchange
    return final | after
