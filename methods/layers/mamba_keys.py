"""Names in the released code of MTMamba and MTMamba++ -> ours."""

from torch import Tensor

from mtlbench.published import Rule

SS2D = (
    (r"x_proj_weight$", "scan.project"),
    (r"dt_projs_weight$", "scan.step_weight"),
    (r"dt_projs_bias$", "scan.step_bias"),
    (r"A_logs$", "scan.decay_logs"),
    (r"Ds$", "scan.through"),
    (r"in_proj\.", "project."),
    (r"in_proj_cross\.", "steer."),
    (r"conv2d\.", "conv."),
    (r"out_norm\.", "norm."),
    (r"out_proj\.", "out."),
)


def ss2d_rules(pattern: str, replacement: str) -> tuple[Rule, ...]:
    """For what stands in an SS2D."""
    return tuple(Rule(pattern + theirs, replacement + ours) for theirs, ours in SS2D)


MLP = ((r"norm2\.", "mlp.0."), (r"mlp\.fc1\.", "mlp.1."), (r"mlp\.fc2\.", "mlp.3."))


def mlp_rules(pattern: str, replacement: str) -> tuple[Rule, ...]:
    """For the MLP after an SS2D."""
    return tuple(Rule(pattern + theirs, replacement + ours) for theirs, ours in MLP)


def expanding_rules() -> tuple[Rule, ...]:
    """For what makes the maps finer, and the last layers."""
    return (
        Rule(r"expand_layers\.(\w+)_(\d)\.", r"stages.\2.expand.\1."),
        Rule(r"concat_layers\.(\w+)_(\d)\.weight$", r"stages.\2.reduce.\1.weight", _linear),
        Rule(r"concat_layers\.(\w+)_(\d)\.", r"stages.\2.reduce.\1."),
        Rule(r"final_project\.", "final_logits."),
    )


def _linear(weight: Tensor) -> Tensor:
    """Of a 1x1 convolution, as MTMamba++ has it, or of a linear map already."""
    return weight.flatten(1)
