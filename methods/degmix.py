"""DeGMix: a deformable mixer as encoder, task queries and a gate as decoder.

Paper: Xu et al., "Efficient Multi-Task Dense Prediction with Deformable and Gating Mixer". Each task samples
the shared features at places of its own, all tasks' features attend to each other, and every task then asks
the result for what it needs:

    X   = embed([F_1; up(F_2); up(F_3); up(F_4)])       one map of tokens
    M_t = mixer_t(X)                                    deformable mixer, `depth` blocks per task
    Z   = MLP(attention([M_1; ...; M_T]))               task interaction, self-attention over all tokens
    Q_t = gate(M_t + MLP_t(attention_t(M_t, Z, Z)))     task query, then the gating unit
    y_t = up(logits_t(ReLU(BN(conv3x3_t(Q_t)))))

Variants, and how each differs from the paper's text:

* `corrected` (default) does what the paper describes in the released layout: tokens at 1/16, from 4x4
  patches of the features. Both attentions have a softmax and run over the tokens of a sample, each sample
  for itself. Kept as released: patches, depth 2, the gate over channels instead of positions, one gate, in
  the decoder only.
* `published` is the released code, number for number. In addition: the interaction attends over the *batch*
  axis; the query has no softmax and its answer for the first sample of a batch is added to all samples;
  `linear1` has parameters but no use.
* `table1` is the layout whose parameters and MACs agree with Table I: a token per pixel at 1/4, no patches;
  the interaction attends over the batch axis, and a token's query reaches the tokens of all tasks *and
  samples* at its own position.

`published` and `table1` therefore let the samples of a batch see each other, in evaluation too.
"""

from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor, nn

from mtlbench.backbones.base import Backbone
from mtlbench.errors import MtlbenchError
from mtlbench.model import Method, Outputs
from mtlbench.published import Rule
from mtlbench.registry import unknown
from mtlbench.tasks import Tasks

from .layers.conv import ConvBNReLU, initialise_logits
from .layers.deformable import DeformableMixer
from .layers.features import concat_features, resize
from .layers.gate import SpatialGate
from .layers.task_attention import LinearTaskQuery, PositionTaskQuery, TaskFusion, TaskQuery
from .layers.tokens import PatchEmbed, PixelEmbed, to_map, to_tokens

Variant = Literal["corrected", "published", "table1"]

QUERIES = {"corrected": TaskQuery, "published": LinearTaskQuery, "table1": PositionTaskQuery}

MIXER = r"defor_mixers\.(\d+)\.blocks\.(\d+)\."
GATE = r"gmlps\.gating\.0\.fn\."
RULES = (
    Rule(MIXER + r"0\.", r"mixers.\1.\2.pointwise."),
    Rule(MIXER + r"2\.", r"mixers.\1.\2.norm."),
    Rule(MIXER + r"3\.fn\.2\.", r"mixers.\1.\2.deformable_norm."),
    Rule(MIXER + r"3\.fn\.0\.offset$", None),  # a buffer that nothing reads
    Rule(MIXER + r"3\.fn\.0\.get_offset\.p_conv\.", r"mixers.\1.\2.deformable.offsets.shift."),
    Rule(MIXER + r"3\.fn\.0\.get_offset\.opt\.", r"mixers.\1.\2.deformable.offsets.expand."),
    Rule(MIXER + r"3\.fn\.0\.", r"mixers.\1.\2.deformable.mix."),
    Rule(r"task_fusion\.", "fusion.attention."),
    Rule(r"smlp\.", "fusion_mlp."),
    Rule(r"task_querys\.(\d+)\.(in_proj_|out_proj\.)", r"queries.\1.attention.\2"),
    Rule(r"task_querys\.", "queries."),
    Rule(r"smlp2\.", "query_mlps."),
    Rule(GATE + r"ln1_0\.", "gate.norm."),
    Rule(GATE + r"fc1_0\.", "gate.expand."),
    Rule(GATE + r"sgu_0\.ln\.", "gate.gate_norm."),
    Rule(GATE + r"sgu_0\.proj\.weight$", "gate.gate.weight", lambda weight: weight.squeeze(-1)),
    Rule(GATE + r"sgu_0\.proj\.bias$", "gate.gate.bias"),
    Rule(GATE + r"fc2_0\.", "gate.project."),
)
EMBEDDINGS = {
    "corrected": (Rule(r"linear1\.", None), Rule(r"patch_embed\.", "embed.")),
    "published": (Rule(r"patch_embed\.", "embed."),),
    "table1": (Rule(r"linear1\.", "embed."),),
}


class DeGMix(Method):
    """DeGMix: deformable mixers, task interaction and task queries with a gate.

    Args:
        backbone: gives the features, at strides 4 to 32.
        tasks: what to predict.
        variant: `corrected`, `published` (released code) or `table1` (the layout of Table I).
        dim: width of the tokens.
        depth: blocks of each task's deformable mixer.
        heads: of both attentions.
    """

    def __init__(
        self,
        backbone: Backbone,
        tasks: Tasks,
        *,
        variant: Variant = "corrected",
        dim: int = 256,
        depth: int = 2,
        heads: int = 2,
    ) -> None:
        super().__init__(backbone, tasks)
        _check_options(variant, dim=dim, depth=depth, heads=heads)
        self.variant = variant
        self.published_keys = (*EMBEDDINGS[variant], *RULES)  # what becomes of linear1 varies
        channels = sum(backbone.channels)
        self.embed = PixelEmbed(channels, dim) if variant == "table1" else PatchEmbed(channels, dim)
        if variant == "published":
            self.linear1 = PixelEmbed(channels, dim)
        self.mixers = nn.ModuleList(_blocks(dim, depth) for _ in tasks)
        self.fusion = TaskFusion(dim, heads, across_samples=variant != "corrected")
        self.fusion_mlp = _mlp(dim)
        self.queries = nn.ModuleList(QUERIES[variant](dim, heads) for _ in tasks)
        self.query_mlps = nn.ModuleList(_mlp(dim) for _ in tasks)
        self.gate = SpatialGate(dim)
        width = max(channels // 8, 1)
        self.bottleneck = nn.ModuleDict({t: ConvBNReLU(dim, width, 3) for t in tasks})
        self.final_logits = nn.ModuleDict(
            {t: nn.Conv2d(width, task.channels, 1) for t, task in tasks.items()}
        )
        initialise_logits(self)

    @property
    def dead_parameters(self) -> tuple[str, ...]:
        """Prefixes of parameters that reach no output."""
        return ("linear1.",) if self.variant == "published" else ()

    @property
    def mixes_samples(self) -> bool:
        """Whether a prediction depends on the batch's other samples, in evaluation too."""
        return self.variant != "corrected"

    @classmethod
    def unsupported(cls, tasks: Iterable[str], backbone: str) -> str | None:
        """Plain ViTs: the paper's network for them has a head of another kind."""
        if backbone.startswith("vit-"):
            return f"needs feature maps at strides 4 to 32, {backbone} has stride 16 only"
        return None

    def decode(self, features: list[Tensor], size: tuple[int, int]) -> Outputs:
        """Features (B, C_i, h_i, w_i) -> predictions (B, K_t, *size)."""
        x = self.embed(concat_features(features))  # (B, C, h, w)
        mixed = [to_tokens(mixer(x)) for mixer in self.mixers]  # T times (B, N, C)
        fused = self.fusion_mlp(self.fusion(torch.cat(mixed, dim=1)))  # (B, T N, C)
        final = {}
        for task, m, query, mlp in zip(self.tasks, mixed, self.queries, self.query_mlps, strict=True):
            q = to_map(self.gate(m + mlp(query(m, fused))), (x.shape[-2], x.shape[-1]))  # (B, C, h, w)
            final[task] = resize(self.final_logits[task](self.bottleneck[task](q)), size)
        return Outputs(final)


def _blocks(dim: int, depth: int) -> nn.Sequential:
    return nn.Sequential(*(DeformableMixer(dim) for _ in range(depth)))


def _mlp(dim: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(dim, dim), nn.LayerNorm(dim))


def _check_options(variant: str, *, dim: int, depth: int, heads: int) -> None:
    """Raise MtlbenchError for what can't be built, naming the option."""
    if variant not in QUERIES:
        raise MtlbenchError(unknown("variant of degmix", variant, tuple(QUERIES)))
    for name, value in (("dim", dim), ("depth", depth), ("heads", heads)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise MtlbenchError(f"`{name}` of degmix must be a whole number >= 1, got {value!r}")
    if dim % heads:
        raise MtlbenchError(f"`dim` of degmix must be a multiple of `heads`, got dim {dim} and heads {heads}")
