"""MTMamba: the decoder alone, whatever the widths and the scans' options."""

from typing import Any

import torch
from golden_cases import Case
from mtlbench.methods.mtmamba import MTMamba
from torch import Tensor

SENSITIVE = "stages.0.across.shared.scan.step_bias"


def build(case: Case) -> MTMamba:
    return MTMamba(case.backbone(), case.tasks(), **options(case))


@torch.no_grad()
def outputs(case: Case, network: MTMamba) -> dict[str, Tensor]:
    """The predictions under the tasks' names."""
    return network.decode(case.inputs(), tuple(case.spec["output_size"])).final


def options(case: Case) -> dict[str, Any]:
    """Of the published constructor, under our names."""
    given = case.spec["options"]
    rank = given.get("dt_rank", "auto")
    return {
        "states": given.get("d_state", 16),
        "expansion": _whole(given.get("ssm_ratio", 2)),
        "mlp_ratio": _whole(given.get("mlp_ratio", 0)),
        "rank": None if rank == "auto" else rank,
    }


def _whole(ratio: float) -> int:
    """2.0 as 2."""
    assert ratio == int(ratio), f"widths are whole multiples here, got {ratio}"
    return int(ratio)
