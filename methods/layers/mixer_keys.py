"""Names of the deformable mixers in published heads, and ours, where the mixers are called `mixers`; of
`mtlbench.published.for_tasks`.
"""

from mtlbench.published import Rule

BLOCK = r"defor_mixers\.TASK\.blocks\.(\d+)\."
MIXER_RULES = (
    Rule(BLOCK + r"0\.", r"mixers.TASK.\1.pointwise."),
    Rule(BLOCK + r"2\.", r"mixers.TASK.\1.norm."),
    Rule(BLOCK + r"3\.fn\.2\.", r"mixers.TASK.\1.deformable_norm."),
    Rule(BLOCK + r"3\.fn\.0\.offset$", None),  # a buffer that nothing reads
    Rule(BLOCK + r"3\.fn\.0\.get_offset\.p_conv\.", r"mixers.TASK.\1.deformable.offsets.shift."),
    Rule(BLOCK + r"3\.fn\.0\.get_offset\.opt\.", r"mixers.TASK.\1.deformable.offsets.expand."),
    Rule(BLOCK + r"3\.fn\.0\.", r"mixers.TASK.\1.deformable.mix."),
)
