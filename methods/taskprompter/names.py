"""Published names of TaskPrompter's parameters, and ours."""

from torch import Tensor

from mtlbench.published import Rule

TRUNK = r"backbone\."
RULES = (
    Rule(TRUNK + r"task_prompts$", "prompts"),
    Rule(TRUNK + r"fea_decode_spa\.(\d)\.(\w+)\.0\.", r"levels.\1.spatial.\2."),
    Rule(TRUNK + r"fea_decode_chan\.(\d)\.(\w+)\.0\.", r"levels.\1.channel.\2."),
    Rule(TRUNK + r"fea_fuse\.(\d)\.", r"levels.\1.fuse."),
    Rule(TRUNK + r"ctr_attn_conv\.(\d)\.", r"levels.\1.reweight."),
    Rule(TRUNK + r"multi_scale_fuse\.", "merge."),
    Rule(r"heads\.(\w+)\.mt_proj\.", r"project.\1."),
    Rule(r"heads\.(\w+)\.linear_pred\.", r"final_logits.\1."),
)
VIT_BLOCK = TRUNK + r"blocks\.(\d+)\.attn\."
VIT = (
    Rule(VIT_BLOCK + r"token_trans\.", r"prompted.channel.\1.into."),
    Rule(VIT_BLOCK + r"token_trans1\.", r"prompted.channel.\1.out."),
)
BLOCK = TRUNK + r"layers\.(\d)\.blocks\.(\d+)\."
MERGING = TRUNK + r"layers\.(\d)\.downsample\."
SWIN = (
    Rule(TRUNK + r".*\.(attn_mask|relative_position_index)$", None),
    Rule(BLOCK + r"chan_q\.", r"prompted.channel.\1.\2.query."),
    Rule(BLOCK + r"chan_kv\.", r"prompted.channel.\1.\2.key_value."),
    Rule(BLOCK + r"chan_proj\.", r"prompted.channel.\1.\2.project."),
    Rule(BLOCK + r"token_trans\.", r"prompted.channel.\1.\2.into."),
    Rule(BLOCK + r"token_trans1\.", r"prompted.channel.\1.\2.out."),
    Rule(MERGING + r"process_chan_attn\.", r"prompted.merging.\1.channel."),
    Rule(MERGING + r"task_prompts_up\.", r"prompted.merging.\1.prompts."),
)


def vit_rules(blocks: int, quirks: frozenset[str]) -> tuple[Rule, ...]:
    """For a ViT with so many blocks."""
    unused = TRUNK + rf"blocks\.{blocks - 1}\.attn\.token_trans1\."
    dropped = () if "unused_update" in quirks else (Rule(unused, None),)
    return (*dropped, *RULES, *VIT)


def swin_rules(stages: int, prompts: int) -> tuple[Rule, ...]:
    """For a Swin with so many stages, and a number of prompts.

    The published code merges maps at the end of a stage, we at the beginning of the next one.
    """

    def by_prompt(x: Tensor) -> Tensor:
        """Channels in order (heads, prompts), at all axes but a kernel's, -> (prompts, heads)."""
        x = x.unflatten(0, (-1, prompts)).transpose(0, 1).flatten(0, 1)
        return x if x.ndim == 1 else x.unflatten(1, (-1, prompts)).transpose(1, 2).flatten(1, 2)

    mixed = Rule(MERGING + r"spa_attn_ds\.", r"prompted.merging.\1.spatial.", by_prompt)
    later = [
        Rule(
            TRUNK + rf"layers\.{i}\.downsample\.(norm|reduction)\.",
            rf"backbone.layers.{i + 1}.downsample.\1.",
        )
        for i in range(stages - 1)
    ]
    last = Rule(TRUNK + r"norm\.", "prompted.norm.")
    return (*RULES, *SWIN, mixed, *later, last)
