"""DeGMix: a deformable mixer as encoder, task queries and a gate as decoder.

Paper: Xu et al., "Efficient Multi-Task Dense Prediction with Deformable and Gating Mixer". Each task samples
the shared features at places of its own, all tasks' features attend to each other, and every task then asks
the result for what it needs:

    X   = embed([F_1; up(F_2); up(F_3); up(F_4)])       one map of tokens
    M_t = mixer_t(X)                                    DM: deformable mixer, `depth` blocks per task
    Z   = MLP(attention([M_1; ...; M_T]))               TI: task interaction
    A_t = MLP_t(attention_t(M_t, Z, Z))                 TQG: task query
    Q_t = gate(M_t + A_t)                               SSG: gating unit
    y_t = up(logits_t(ReLU(BN(conv3x3_t(Q_t)))))

Without DM, M_t = X; without TI, Z = [M_1; ...; M_T]; without TQG, A_t is task t's part of Z (nothing, if TI
is left out too); without SSG, Q_t = M_t + A_t.

Variants, and how each differs from the paper's text:

* `corrected` (default) does what the paper describes in the released layout: tokens at 1/16, from 4x4
  patches of the features. Both attentions have a softmax and run over the tokens of a sample, each sample
  for itself. Kept as released: patches, depth 2, the gate over channels instead of positions, one gate, in
  the decoder only.
* `published` is the released code, number for number.
* `table1` is the layout whose parameters and MACs agree with Table I: a token per pixel at 1/4, no patches;
  a token's query reaches the tokens at its own position only.

A plain ViT, whose maps all have stride 16, has tokens at 1/4 in `published` and `corrected`. There
`corrected` attends across the tasks at each position, in both attentions: over all tokens they would cost
thirty times as much as the rest. No known code gives Table I's parameters for ViTs, so `table1` refuses them.

`published` and `table1` let the samples of a batch see each other, in evaluation too.
"""

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from mtlbench.backbones.base import Backbone
from mtlbench.errors import MtlbenchError
from mtlbench.model import Method, Outputs
from mtlbench.registry import unknown
from mtlbench.resizing import resize
from mtlbench.search.spaces import OneOf, domains
from mtlbench.tasks import Tasks

from ..layers.checks import check_heads, check_numbers
from ..layers.conv import ConvBNReLU, initialise_logits
from ..layers.deformable import Deform, DeformableMixer
from ..layers.gate import SpatialGate
from ..layers.position_attention import TaskInteraction, TaskQueryAtPosition
from ..layers.pyramid import PyramidEmbed
from ..layers.task_attention import (
    LinearTaskQuery,
    NormedTaskQueries,
    PositionTaskQuery,
    TaskFusion,
    TaskQueries,
    TaskQuery,
)
from ..layers.tokens import PatchEmbed, to_map, to_tokens
from .names import rules
from .plain import PlainEmbed

Part = Literal["dm", "ssg", "ti", "tqg"]
PARTS: tuple[Part, ...] = ("dm", "ssg", "ti", "tqg")
DEFORMS = ("sampled", "torchvision", "mmcv")
PLAIN_WIDTH = 1440
"""Channels that the released code takes all ViTs to have together, wherever only their number matters."""


class DeGMix(Method):
    """DeGMix: deformable mixers, task interaction and task queries with a gate.

    Args:
        backbone: gives the features: maps at strides 4 to 32, or those of a plain ViT.
        tasks: what to predict.
        variant: `corrected`, `published` (released code) or `table1` (the layout of Table I).
        without: quirks of the variant to leave out.
        dim: width of the tokens.
        depth: blocks of each task's deformable mixer.
        heads: of both attentions.
        modules: which parts there are: `dm` deformable mixers, `ssg` gating unit, `ti` task interaction,
            `tqg` task query. Options of a part that is left out have no effect.
        scales: the first so many of the backbone's maps are used.
        gate_depth: gating units, one after the other.
        deform: what computes the deformable convolution, to the same result: `sampled` (ours), `torchvision`
            or `mmcv`, if it is installed with its operators.

    Quirks:
        interaction_over_batch: the interaction attends over the batch axis; corrected: over all tokens of a
            sample, or where tokens are at 1/4 over the tasks at each position.
        query_without_softmax: (`published`) the query's attention is linear; corrected: it has a softmax.
        first_answer_for_all: (`published`) the query's answer to the first sample of a batch is added to all
            samples; corrected: each sample has its own.
        query_over_batch: (`table1`) the query reaches the tokens of all samples; corrected: of its own.
        unused_linear1: (`published`) a linear map of the features that nothing reads; corrected: left out.
    """

    paper = "Xu et al., arXiv 2308.05721, 2023"
    code = "after the released code, yangyangxu0/DeGMix"
    # Of those in Tables V and VI of the paper.
    search_space = domains(depth=OneOf((1, 2, 4)), gate_depth=OneOf((1, 2, 4)))
    variants: ClassVar = {
        "published": (
            "interaction_over_batch",
            "query_without_softmax",
            "first_answer_for_all",
            "unused_linear1",
        ),
        "table1": ("interaction_over_batch", "query_over_batch"),
    }
    sample_mixing = ("interaction_over_batch", "first_answer_for_all", "query_over_batch")

    def __init__(
        self,
        backbone: Backbone,
        tasks: Tasks,
        *,
        variant: Literal["corrected", "published", "table1"] = "corrected",
        without: tuple[str, ...] = (),
        dim: int = 256,
        depth: int = 2,
        heads: int = 2,
        modules: tuple[Part, ...] = PARTS,
        scales: int = 4,
        gate_depth: int = 1,
        deform: Deform = "sampled",
    ) -> None:
        super().__init__(backbone, tasks)
        self.keep_quirks(variant, without)
        numbers = {"dim": dim, "depth": depth, "heads": heads, "scales": scales, "gate_depth": gate_depth}
        check_numbers("degmix", **numbers)
        check_heads("degmix", dim, heads)
        _check_choices(modules, deform)
        self.published_keys = rules(variant, self.quirks, tasks)
        self.parts = frozenset(modules)
        self.scales = scales
        self._embed(dim)
        blocks = depth if "dm" in modules else 0
        self.mixers = nn.ModuleDict(
            {t: nn.Sequential(*(DeformableMixer(dim, deform=deform) for _ in range(blocks))) for t in tasks}
        )
        if "ti" in modules:
            self.fusion = self._fusion(dim, heads)
            self.fusion_mlp = _mlp(dim)
        if "tqg" in modules:
            self.queries = self._queries(dim, heads)
            self.query_mlps = nn.ModuleDict({t: _mlp(dim) for t in tasks})
        self.gate = nn.Sequential(*(SpatialGate(dim) for _ in range(gate_depth if "ssg" in modules else 0)))
        width = max(self.width // 8, 1)
        self.bottleneck = nn.ModuleDict({t: ConvBNReLU(dim, width, 3) for t in tasks})
        self.final_logits = nn.ModuleDict(
            {t: nn.Conv2d(width, task.channels, 1) for t, task in tasks.items()}
        )
        initialise_logits(self)

    def _embed(self, dim: int) -> None:
        """What makes the tokens, and what follows from it."""
        channels, strides = self.backbone.channels, self.backbone.strides
        if self.scales > len(channels):
            raise MtlbenchError(
                f"`scales` of degmix must be at most {len(channels)}, the backbone's maps, got {self.scales}"
            )
        channels, plain = channels[: self.scales], len(set(strides)) == 1
        self.width = PLAIN_WIDTH if plain else sum(channels)
        self.fine = plain or self.variant == "table1"
        self.embed: nn.Module
        if plain and self.variant == "table1":
            raise MtlbenchError(
                "variant `table1` of degmix needs feature maps at strides 4 to 32, the backbone's all have "
                f"{strides[0]}: take `corrected` or `published`"
            )
        if plain:
            self.embed = PlainEmbed(channels, dim, strides[0])
        else:
            self.embed = (PyramidEmbed if self.fine else PatchEmbed)(sum(channels), dim)
        if "unused_linear1" in self.quirks:
            self.linear1 = PyramidEmbed(self.width, dim)

    def _fusion(self, dim: int, heads: int) -> nn.Module:
        over_batch = "interaction_over_batch" in self.quirks
        if over_batch or self.fine:
            return TaskInteraction(dim, heads, over_batch=over_batch)
        return TaskFusion(dim, heads)

    def _queries(self, dim: int, heads: int) -> TaskQueries:
        if self.variant == "table1":
            over_batch = "query_over_batch" in self.quirks
            return TaskQueries(
                {t: TaskQueryAtPosition(dim, heads, over_batch=over_batch) for t in self.tasks}
            )
        kind = PositionTaskQuery if self.fine else TaskQuery
        if "query_without_softmax" in self.quirks:
            kind = LinearTaskQuery
        return NormedTaskQueries({t: kind(dim, heads) for t in self.tasks})

    @property
    def dead_parameters(self) -> tuple[str, ...]:
        """Prefixes of parameters that reach no output; a backbone's behind the last used map don't either."""
        unused = ("linear1.",) if "unused_linear1" in self.quirks else ()
        queries = self.queries.items() if "tqg" in self.parts else ()
        alike = [
            t for t, query in queries if isinstance(query, PositionTaskQuery)
        ]  # for all keys of a softmax
        return (*unused, *(f"queries.{task}.norm_k.bias" for task in alike))

    @property
    def mixes_samples(self) -> bool:
        """Whether a prediction depends on the batch's other samples, in evaluation too."""
        part = {quirk: "ti" if quirk.startswith("interaction") else "tqg" for quirk in self.sample_mixing}
        return any(part[quirk] in self.parts for quirk in self.quirks.intersection(part))

    @property
    def own_parameters(self) -> dict[str, tuple[str, ...]]:
        """An interaction over the batch alone mixes no tasks, though their tokens lie in one tensor."""
        if "tqg" in self.parts or "interaction_over_batch" not in self.quirks:
            return {}
        return {task: (f"mixers.{task}.",) for task in self.tasks} if "ti" in self.parts else {}

    def decode(self, features: list[Tensor], size: tuple[int, int]) -> Outputs:
        """Features (B, C_i, h_i, w_i) -> predictions (B, K_t, *size)."""
        x = self.embed(features[: self.scales]).contiguous()  # (B, C, h, w)
        mixed = [to_tokens(mixer(x)) for mixer in self.mixers.values()]  # T times (B, N, C)
        final = {}
        for task, m in zip(self.tasks, self._add_answers(mixed), strict=True):
            q = to_map(self.gate(m), (x.shape[-2], x.shape[-1]))  # (B, C, h, w)
            final[task] = resize(self.final_logits[task](self.bottleneck[task](q)), size)
        return Outputs(final)

    def _add_answers(self, mixed: list[Tensor]) -> list[Tensor]:
        """Each task's tokens (B, N, C) with what they learn from the other tasks."""
        if not self.parts & {"ti", "tqg"}:
            return mixed
        fused = torch.stack(mixed, dim=2)  # (B, N, T, C)
        mixed = list(fused.unbind(2))
        if "ti" in self.parts:
            fused = self.fusion_mlp(self.fusion(fused))
        answers = self._ask(mixed, fused) if "tqg" in self.parts else fused.unbind(2)
        return [m + answer for m, answer in zip(mixed, answers, strict=True)]

    def _ask(self, mixed: list[Tensor], fused: Tensor) -> list[Tensor]:
        if "first_answer_for_all" in self.quirks:
            mixed, fused = [m[:1] for m in mixed], fused[:1]
        answers = self.queries(mixed, fused)
        return [mlp(answer) for mlp, answer in zip(self.query_mlps.values(), answers, strict=True)]


def _mlp(dim: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(dim, dim), nn.LayerNorm(dim))


def _check_choices(modules: Sequence[str], deform: str) -> None:
    """Raise MtlbenchError for what isn't known, naming the option."""
    for name in modules:
        if name not in PARTS:
            raise MtlbenchError(unknown("`modules` of degmix", name, PARTS))
    if len(set(modules)) < len(modules):
        raise MtlbenchError(f"`modules` of degmix must name each part once, got {', '.join(modules)}")
    if deform not in DEFORMS:
        raise MtlbenchError(unknown("`deform` of degmix", deform, DEFORMS))
