"""MQTransformer."""

from golden_cases import Case
from mtlbench.methods.mqtransformer import BLOCK, MQTransformer

SENSITIVE = "interaction.attention.out_proj.weight"


def build(case: Case) -> MQTransformer:
    """Widths from the published parameters."""
    block = BLOCK.replace("\\", "")
    _, tokens, dim = case.shapes[f"{block}rpn_tokens.0"]
    return MQTransformer(
        case.backbone(),
        case.tasks(),
        variant="published",
        dim=dim,
        tokens=tokens,
        heads=dim // case.shapes[f"{block}rpn_qpos.0"][3],
        channels=case.shapes[f"bottleneck.{case.spec['tasks'][0]}.conv.weight"][0],
    )
