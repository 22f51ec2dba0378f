"""The published names of DeGMix's parameters, and ours."""

from collections.abc import Collection, Iterable

from mtlbench.published import Rule, for_tasks

from ..layers.mixer_keys import MIXER_RULES

GATE = r"gmlps\.gating\.(\d+)\.fn\."
OF_TASK = (
    *MIXER_RULES,
    Rule(r"task_querys\.TASK\.(in_proj_|out_proj\.)", r"queries.TASK.attention.\1"),
    Rule(r"task_querys\.TASK\.", "queries.TASK."),
    Rule(r"smlp2\.TASK\.", "query_mlps.TASK."),
)
SHARED = (
    Rule(r"task_fusion\.", "fusion.attention."),
    Rule(r"smlp\.", "fusion_mlp."),
    Rule(GATE + r"ln1_0\.", r"gate.\1.norm."),
    Rule(GATE + r"fc1_0\.", r"gate.\1.expand."),
    Rule(GATE + r"sgu_0\.ln\.", r"gate.\1.gate_norm."),
    Rule(GATE + r"sgu_0\.proj\.weight$", r"gate.\1.gate.weight", lambda weight: weight.squeeze(-1)),
    Rule(GATE + r"sgu_0\.proj\.bias$", r"gate.\1.gate.bias"),
    Rule(GATE + r"fc2_0\.", r"gate.\1.project."),
)
LAYERS = ((0, 0, "conv"), (1, 0, "bn"), (3, 1, "conv"), (4, 1, "bn"))
"""Of two convolutions with norms in a published sequence: place, which of the two, which layer."""
PLAIN = (
    *(
        Rule(rf"featconv\.head{i + 2}\.{place}\.", f"embed.levels.{i}.{which}.{layer}.")
        for i in range(4)
        for place, which, layer in LAYERS
    ),
    *(
        Rule(rf"featconv\.head6\.{place}\.", f"embed.{('merge', 'refine')[which]}.{layer}.")
        for place, which, layer in LAYERS
    ),
)


def rules(variant: str, quirks: Collection[str], tasks: Iterable[str]) -> tuple[Rule, ...]:
    """What becomes of `linear1` varies: the embedding, without use, or nothing."""
    known = (*SHARED, *for_tasks(OF_TASK, tasks))
    if variant == "table1":
        return (Rule(r"linear1\.", "embed."), *known)
    linear1 = () if "unused_linear1" in quirks else (Rule(r"linear1\.", None),)
    return (*linear1, Rule(r"patch_embed\.", "embed."), *PLAIN, *known)
