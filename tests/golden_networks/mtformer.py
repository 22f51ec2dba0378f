"""MTFormer: all that follows the backbone."""

import re

import torch
from golden_cases import Case
from mtlbench.methods.mtformer import MTFormer
from torch import Tensor

SENSITIVE = "reduce.weight"
DEAD = r"\.relative_position_index$|^contrast\d"


def build(case: Case) -> MTFormer:
    """Width and depth from the published parameters."""
    options = case.spec["options"]
    blocks = {
        m[1] for key in case.shapes if (m := re.match(r"transformer1\.layers\.0\.blocks\.(\d+)\.", key))
    }
    return MTFormer(
        case.backbone(),
        case.tasks(),
        variant="published",
        dim=case.shapes["decoder.weight"][0],
        depth=len(blocks),
        heads=options["heads"],
        window=options["window"],
    )


@torch.no_grad()
def outputs(case: Case, network: MTFormer) -> dict[str, Tensor]:
    return network.decode(case.inputs(), tuple(case.spec["output_size"])).final
