"""DeMT."""

import re

from golden_cases import Case
from mtlbench.methods.demt import DeMT

SENSITIVE = "interaction_mlp.0.weight"


def build(case: Case) -> DeMT:
    """Width and depth from the published parameters."""
    blocks = {m[1] for key in case.shapes if (m := re.match(r"defor_mixers\.0\.blocks\.(\d+)\.", key))}
    return DeMT(
        case.backbone(),
        case.tasks(),
        variant="published",
        dim=case.shapes["smlp.0.weight"][0],
        depth=len(blocks),
        heads=case.spec["options"].get("heads", 4),
    )
