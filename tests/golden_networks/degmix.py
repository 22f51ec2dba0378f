"""DeGMix as released, and in the layout of Table I."""

import re

from golden_cases import Case
from mtlbench.methods.degmix.degmix import DeGMix

SENSITIVE = "fusion_mlp.0.weight"
MIXER, GATE = r"defor_mixers\.0\.blocks\.(\d+)\.", r"gmlps\.gating\.(\d+)\."


def build(case: Case) -> DeGMix:
    """Variant, widths and depths from the published parameters."""
    depth, gate_depth = (
        len({m[1] for key in case.shapes if (m := re.match(pattern, key))}) for pattern in (MIXER, GATE)
    )
    table1 = not any(key.startswith(("patch_embed.", "featconv.")) for key in case.shapes)
    return DeGMix(
        case.backbone(),
        case.tasks(),
        variant="table1" if table1 else "published",
        dim=case.shapes["smlp.0.weight"][0],
        depth=depth,
        gate_depth=gate_depth,
        heads=case.spec["options"].get("heads", 2),
    )
